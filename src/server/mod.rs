//! Sockets and tasks: RADIUS and HTTP front ends around one [`crate::service::Service`].
