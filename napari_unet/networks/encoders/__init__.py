"""Encoders known from image classification, one file a family."""
