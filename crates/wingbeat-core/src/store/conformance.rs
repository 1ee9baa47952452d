//! What every [`Store`](crate::Store) must do; see [`crate::conformance`].

mod backlog;
mod commit;
mod due;
pub mod growth;
mod outbox;
mod reading;
mod settling;
pub mod sql;
mod views;

pub use backlog::*;
pub use commit::*;
pub use due::*;
pub use outbox::*;
pub use reading::*;
pub use settling::*;
pub use views::*;

/// Makes a `#[test]` of each test of the store suite; `$run` is a `fn(Test)` that brings the fixture.
#[macro_export]
macro_rules! store_conformance {
    ($run:path) => {
        $crate::conformance_tests!(
            $run,
            $crate::store::conformance,
            [
                all_parts_of_a_unit_become_visible_together,
                a_stale_read_is_refused_and_leaves_nothing,
                an_absence_that_was_read_is_validated,
                a_decision_to_refuse_is_validated_like_a_write,
                blind_writes_need_no_version,
                versions_grow_by_one,
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
                a_poisonous_unit_stands_alone,
                what_was_committed_survives_a_restart,
                an_empty_batch_is_fine,
                a_large_batch_is_committed_in_order,
                a_removed_record_is_absent,
                a_history_is_kept_in_order,
                a_conflicting_append_is_refused,
                empty_and_large_bodies_come_back,
                records_of_a_table_are_scanned_in_order,
                records_are_loaded_together_in_the_order_of_their_keys,
                a_service_sees_only_its_own_data,
                a_row_is_found_by_its_key,
                rows_are_paged_by_prefix_in_both_directions,
                rows_with_equal_values_are_paged_by_key,
                rows_are_found_by_a_part_of_a_column,
                all_rows_are_paged_by_key,
                a_changed_row_leaves_no_old_index_entries,
                values_compare_by_bytes_and_wildcards_are_plain,
                a_story_is_told_in_order,
                counters_add_up_for_committed_units_only,
                only_due_records_are_claimed_soonest_first,
                a_claimed_record_is_not_handed_out_twice,
                a_claimed_record_comes_again_after_the_lease,
                a_record_due_again_can_be_claimed_at_once,
                claims_stay_within_their_limit_and_services,
                next_due_is_the_soonest,
                firing_twice_is_guarded_by_the_version,
                a_removed_timer_never_fires,
                due_records_survive_a_restart,
                what_has_expired_is_deleted,
                the_inbox_outlives_the_longest_replay,
                a_unit_sends_its_messages_with_the_commit,
                a_refused_unit_sends_nothing,
                a_unit_submitted_again_sends_once,
                the_outbox_hands_out_the_oldest_first,
                what_was_claimed_from_the_outbox_comes_again_after_the_lease,
                only_confirmed_messages_leave_the_outbox,
                what_is_claimed_with_the_commit_is_nobody_elses_until_the_lease_ends,
                what_was_let_go_comes_again_after_its_pause,
                the_outbox_survives_a_restart,
                what_is_due_is_told_apart_from_what_is_overdue,
                a_backlog_tells_of_its_own_service_only,
                messages_wait_until_they_are_confirmed,
            ]
        );
    };
}
