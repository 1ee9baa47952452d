//! The conformance suite of the [`Store`](crate::Store) port.
//!
//! `store_conformance!` turns each test into a `#[test]`. Stores with SQL run [`sql`] as well, and
//! stores that can measure their tables use [`growth`]. See [`crate::conformance`] for the fixture.

mod backlog;
mod commit;
mod due;
pub mod growth;
mod histories;
mod outbox;
mod reading;
mod settling;
pub mod sql;
mod views;

pub use backlog::*;
pub use commit::*;
pub use due::*;
pub use histories::*;
pub use outbox::*;
pub use reading::*;
pub use settling::*;
pub use views::*;

/// Turns each test of the store suite into a `#[test]`. `$run` is a function that takes a
/// [`Test`](crate::conformance::Test), creates a fixture and drives the future of the test.
#[macro_export]
macro_rules! store_conformance {
    ($run:path) => {
        $crate::conformance_tests!(
            $run,
            $crate::conformance::store,
            [
                a_ping_succeeds_at_any_time,
                all_parts_of_a_unit_become_visible_together,
                a_stale_read_is_refused_and_leaves_nothing,
                an_absence_that_was_read_is_validated,
                a_decision_to_refuse_is_validated_like_a_write,
                blind_writes_need_no_version,
                versions_grow_by_one,
                a_record_that_was_put_again_is_another,
                units_build_on_earlier_units_of_the_batch,
                a_unit_built_on_a_refused_unit_is_stale,
                a_refused_write_is_not_mistaken_for_another_of_its_version,
                units_that_share_nothing_do_not_fail_together,
                a_claimed_key_has_one_winner,
                a_unit_submitted_again_is_committed_once,
                a_unit_submitted_again_after_a_restart_is_committed_once,
                a_unit_twice_in_one_batch_is_committed_once,
                a_duplicate_delivery_has_no_effects,
                a_duplicate_in_the_same_batch_has_no_effects,
                a_delivery_is_known_by_queue_source_and_message,
                a_unit_settles_several_deliveries_together,
                a_known_delivery_among_several_leaves_the_others_unsettled,
                a_poisonous_unit_stands_alone,
                committed_units_survive_a_restart,
                an_empty_batch_commits,
                a_large_batch_is_committed_in_order,
                a_removed_record_is_absent,
                a_history_is_kept_in_order,
                a_conflicting_append_is_refused,
                empty_and_large_bodies_are_stored_unchanged,
                records_of_a_table_are_scanned_in_order,
                records_are_loaded_in_the_order_of_their_keys,
                a_service_sees_only_its_own_data,
                a_row_is_found_by_its_key,
                rows_are_paged_by_prefix_in_both_directions,
                rows_are_paged_by_range_in_both_directions,
                rows_with_equal_values_are_paged_by_key,
                rows_are_found_by_a_substring_of_a_column,
                all_rows_are_paged_by_key,
                a_changed_row_leaves_no_old_index_entries,
                values_compare_by_bytes_and_have_no_wildcards,
                journal_entries_are_read_in_commit_order,
                counters_add_up_for_committed_units_only,
                only_due_records_are_claimed_soonest_first,
                a_claimed_record_is_not_claimed_twice,
                a_claimed_record_can_be_claimed_again_after_its_lease,
                a_rewritten_record_can_be_claimed_at_once,
                claims_stay_within_their_limit_and_services,
                next_due_is_the_soonest,
                firing_twice_is_guarded_by_the_version,
                a_removed_timer_never_fires,
                due_records_survive_a_restart,
                expired_records_are_deleted,
                the_inbox_outlives_the_longest_replay,
                a_unit_sends_its_messages_with_the_commit,
                a_refused_unit_sends_nothing,
                a_unit_submitted_again_sends_once,
                the_oldest_messages_are_claimed_first,
                a_claimed_message_can_be_claimed_again_after_its_lease,
                only_confirmed_messages_leave_the_outbox,
                messages_claimed_with_a_commit_are_leased,
                a_released_message_can_be_claimed_after_its_pause,
                the_outbox_survives_a_restart,
                pending_and_overdue_records_are_counted_separately,
                a_backlog_covers_only_its_own_service,
                unconfirmed_messages_are_part_of_the_backlog,
            ]
        );
    };
}
