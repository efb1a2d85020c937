"""Train with differential privacy: one training row more or less hardly changes the weights."""
