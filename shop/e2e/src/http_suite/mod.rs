//! Tests of the HTTP API, written once for every mode of the shop: one process on its data
//! directory, one process on servers, and services behind their gateway.
//!
//! Each mode declares the tests with [`http_suite!`](crate::http_suite!), which calls the
//! functions of this module with a [`Subject`]. What reaches into the process is tested where the
//! shop is a library (`shop/app/tests/it/real`).

pub mod admin;
mod api;
mod documented;
pub mod flash;
pub mod generated;
pub mod kept;
pub mod orders;
pub mod raw;
pub mod requests;
pub mod sessions;
pub mod stream;
mod subject;

use api::new_email;
pub use api::{Api, Cache, address, order};
pub use subject::{Access, Host, Subject};

/// Declares the tests for one mode of the shop. The argument is an `async fn(Access) -> Subject`.
#[macro_export]
macro_rules! http_suite {
    ($open:path) => {
        $crate::http_suite! { @module $open, admin:
            Exclusive a_product_is_offered_repriced_and_retired,
            Exclusive a_paused_subscription_keeps_its_messages_until_it_is_resumed,
            Exclusive the_console_pauses_and_resumes_for_the_admin_alone,
            Exclusive an_order_can_be_cancelled_until_it_is_dispatched,
        }
        $crate::http_suite! { @module $open, requests:
            Shared malformed_requests_are_answered_with_problems,
            Shared problems_name_the_invalid_field,
            Exclusive lists_are_paged_within_bounds,
            Shared responses_carry_security_and_cache_headers,
            Shared no_text_that_a_store_cannot_keep_is_taken_for_an_outage,
            Shared a_refusal_leaves_the_connection_usable_or_closes_it,
            Shared requests_that_are_not_http_are_refused_with_problems,
        }
        $crate::http_suite! { @module $open, flash:
            Shared a_unit_of_a_flash_sale_is_claimed_confirmed_and_bought_once,
            Exclusive a_flash_sale_goes_on_after_a_restart,
        }
        $crate::http_suite! { @module $open, generated:
            Exclusive every_generated_request_is_answered_as_documented,
        }
        $crate::http_suite! { @module $open, orders:
            Exclusive an_idempotency_key_stands_for_one_order_across_a_restart,
            Shared writes_are_visible_to_the_next_read,
            Shared a_promo_reduces_one_order_by_ten_percent,
        }
        $crate::http_suite! { @module $open, sessions:
            Shared only_public_routes_work_without_a_session,
            Shared the_order_of_another_user_is_not_found,
            Shared a_write_with_a_cookie_must_come_from_the_same_site,
            Exclusive a_session_survives_a_restart_and_ends_with_the_logout,
            Shared a_sign_up_creates_a_cart_a_promo_and_one_mail_each,
            Shared too_many_wrong_passwords_block_the_account,
            Shared dev_routes_are_for_this_machine_or_the_admin,
            Shared a_new_password_ends_all_other_sessions,
            Shared a_closed_account_is_erased_and_its_orders_end,
            Shared a_browser_gets_a_cookie_and_no_token,
            Shared redis_stores_a_session_under_the_digest_of_its_token,
        }
        $crate::http_suite! { @module $open, stream:
            Shared the_stream_sends_every_change_in_order_and_resumes_after_a_cut,
            Shared the_stream_ends_with_the_session,
        }
    };
    (@module $open:path, $module:ident: $($access:ident $test:ident,)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    let subject = $open($crate::http_suite::Access::$access).await;
                    $crate::http_suite::$module::$test(subject).await;
                }
            )*
        }
    };
}
