"""A Label Studio server: its labelling configuration, tasks pushed, annotations pulled."""
