//! Both modes of the shop answer the same requests alike: no answer depends on the store.

use shop_e2e::http_suite::generated::{CASES, SEED, Session, answer, cases};

use super::{Shape, Shop};

#[tokio::test(flavor = "multi_thread")]
async fn both_modes_answer_generated_requests_alike() {
    let embedded = Shop::open(Shape::Embedded).await;
    let on_servers = Shop::open(Shape::OnServers).await;
    let document = embedded.get("/openapi.json", "").await.json();
    let (mut one, mut other) = (
        Session::open(&embedded).await,
        Session::open(&on_servers).await,
    );
    // Other requests than those of the suite.
    for case in cases(&document, SEED + 1, CASES) {
        let (first, second) = tokio::join!(one.ask(&case), other.ask(&case));
        assert_eq!(
            answer(&first),
            answer(&second),
            "embedded and on servers: {case:?}\n{first:?}\n{second:?}"
        );
    }
}
