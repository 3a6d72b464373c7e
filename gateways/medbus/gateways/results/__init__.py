"""Results of processing on their way: registered, sent by C-STORE, or announced by a webhook."""
