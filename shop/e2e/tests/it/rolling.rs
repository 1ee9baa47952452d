//! Every process of a fleet is replaced while people shop, and no request fails.

use shop_e2e::rolling::Rolling;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_every_process_is_replaced() {
    let mut rolling = Rolling::start(Rolling::plan()).await;
    rolling.replace_all(None).await;
    assert_eq!(rolling.end().await.broken, Vec::<String>::new());
}
