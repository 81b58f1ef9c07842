"""The options of each family of networks. Importing this does not import torch."""
