"""Every check, in one tuple: ``STORE_CHECKS``."""

from __future__ import annotations

from tornado_sessions.testing import ending, finding, saving

__all__ = ["STORE_CHECKS"]

STORE_CHECKS = (
    saving.check_a_session_comes_back_as_it_was_stored,
    saving.check_an_unknown_handle_is_nothing,
    saving.check_any_bytes_and_any_key_survive,
    saving.check_a_change_of_one_key_keeps_the_others,
    saving.check_two_clients_keep_both_keys,
    saving.check_clear_comes_before_set,
    saving.check_a_used_handle_is_never_made_again,
    saving.check_an_unmet_expectation_writes_nothing,
    saving.check_counting_by_expectation_is_exact,
    saving.check_times_only_move_forward,
    saving.check_a_lifetime_replaces_the_limits,
    saving.check_one_of_two_rotations_wins,
    saving.check_only_the_newest_secret_is_confirmed_and_once,
    saving.check_each_of_a_batch_gets_its_own_answer,
    saving.check_an_empty_batch_is_no_error,
    ending.check_a_late_write_brings_nothing_back,
    ending.check_a_destroyed_session_leaves_its_tombstone,
    ending.check_destroying_twice_is_no_error,
    ending.check_a_users_sessions_end_but_one,
    ending.check_a_session_is_gone_at_the_exact_second,
    ending.check_expired_ones_are_removed_in_steps_and_told,
    ending.check_old_tombstones_are_forgotten,
    ending.check_everybody_is_out_with_one_write,
    ending.check_everybodys_end_only_moves_forward,
    ending.check_another_client_hears_of_an_end,
    ending.check_closing_ends_the_listening,
    ending.check_open_and_close_twice_are_harmless,
    ending.check_what_is_taken_is_whole_and_taken_once,
    finding.check_the_list_is_newest_first,
    finding.check_paging_loses_and_doubles_nothing,
    finding.check_filters_by_user_address_and_handle,
    finding.check_a_prefix_finds_user_handle_and_address,
    finding.check_the_list_follows_a_change,
    finding.check_the_list_shows_no_dead_session,
    finding.check_tombstones_have_a_list_of_their_own,
    finding.check_a_cursor_that_makes_no_sense_is_refused,
    finding.check_odd_user_names_are_only_names,
    finding.check_each_order_is_kept_page_by_page,
    finding.check_many_of_one_moment_are_paged_in_every_order,
    finding.check_the_dead_do_not_hide_the_living,
    finding.check_a_cursor_of_another_order_is_refused,
    finding.check_every_filter_alone_and_combined,
    finding.check_ended_ones_are_filtered_as_well,
)
