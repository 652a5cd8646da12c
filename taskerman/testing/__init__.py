"""Public in-memory fakes with fault injection, held to the same contract suites as the adapters."""
