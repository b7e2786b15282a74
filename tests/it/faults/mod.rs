//! Faults that were found from outside, one module for each, named by its number; the table in
//! `tests/README.md` says which test proves that it is mended.

mod a10_request_limits;
mod a11_status_only;
mod c4_what_changed;

mod a1_rows;
mod a2_store;
mod a3_lost_tail;
mod a4_endless_reading;
mod a9_memory;
mod b1_log_lines;
mod b2_full_disk;
mod b4_reload;
mod c10_phone_numbers;
mod c1_reply;
mod c2_challenge_rule;
mod c3_methods;
mod c5_told_everywhere;
mod c6_advice;
mod c7_effect;
mod c8_realm;
mod c9_groups;
mod d10_nas_on_record;
mod d10_users_found;
mod d11_personal_data;
mod d1_secrets_typed;
mod d2_blanks;
mod d3_user_name_first;
mod d4_files_and_forms;
mod d5_words_typed;
mod d6_what_next;
mod d7_metrics;
mod d8_description;
mod d9_languages;
