//! Integration tests: the real binary against a real redis-server and a real fail2ban.
fn main() {}
