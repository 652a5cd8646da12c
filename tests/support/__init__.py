"""What tests stand on: real parts on loopback, and those who watch them. No test lives here."""
