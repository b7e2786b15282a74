//! Decisions: factors, lockout, what explains them; codes of the standards.

mod allocations;
mod both_ways;
mod decisions;
mod explain;
mod factors;
mod factors_forms;
mod factors_rounds;
mod factors_waivers;
mod in_flight;
mod lockout;
mod otp_oracle;
mod otp_vectors;
mod policy_names;
