"""Webhooks: events of pools, sent to addresses that ask for them, by Standard Webhooks (standardwebhooks.com)."""
