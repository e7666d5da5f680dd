"""`wse top`: a live view of nodes and topics."""
