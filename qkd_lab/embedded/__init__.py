"""The network on one host without containers: real database servers and the lab's processes under one supervisor."""
