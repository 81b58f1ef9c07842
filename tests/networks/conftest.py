"""Failures of the shared promises show their values."""

import pytest

pytest.register_assert_rewrite("promises")
