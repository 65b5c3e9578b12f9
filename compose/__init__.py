"""Everything on one machine: nats-server, redis-server and each part of the system as child processes."""
