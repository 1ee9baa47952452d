//! Network policies, as a cluster would apply them to every pair of pods and servers.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::kit::{Chart, NAMESPACE, component, items};
use super::workloads::has;

/// One end of a connection.
enum End {
    Pod {
        labels: Value,
        namespace: &'static str,
    },
    Address(Ipv4Addr),
}

struct Host {
    name: String,
    end: End,
}

impl Host {
    fn pod(name: &str, labels: Value, namespace: &'static str) -> Self {
        let end = End::Pod { labels, namespace };
        Self {
            name: name.to_owned(),
            end,
        }
    }

    fn address(name: &str, address: &str) -> Self {
        let end = End::Address(address.parse().unwrap());
        Self {
            name: name.to_owned(),
            end,
        }
    }
}

/// Returns `true` if the address is in the block, such as `10.0.0.0/8`.
fn is_within(address: Ipv4Addr, block: &str) -> bool {
    let (base, bits) = block.split_once('/').unwrap();
    let Ok(base) = base.parse::<Ipv4Addr>() else {
        return false; // a block of version 6
    };
    let shift = 32 - bits.parse::<u32>().unwrap();
    let network = |of: Ipv4Addr| u64::from(of.to_bits()) >> shift;
    network(base) == network(address)
}

/// Returns `true` if the peer of a rule selects this end of a connection.
fn means(peer: &Value, end: &End) -> bool {
    let (pods, namespaces) = (&peer["podSelector"], &peer["namespaceSelector"]);
    match end {
        End::Address(address) => {
            let block = &peer["ipBlock"];
            let contains = |cidr: &Value| is_within(*address, cidr.as_str().unwrap());
            !block.is_null() && contains(&block["cidr"]) && !items(&block["except"]).any(contains)
        }
        End::Pod { labels, namespace } => {
            let labelled = |selector: &Value, labels: &Value| {
                let wanted = &selector["matchLabels"];
                wanted.is_null() || has(labels, wanted)
            };
            let names = json!({"kubernetes.io/metadata.name": namespace});
            let here = match namespaces {
                Value::Null => *namespace == NAMESPACE,
                selector => labelled(selector, &names),
            };
            peer["ipBlock"].is_null() && here && (pods.is_null() || labelled(pods, labels))
        }
    }
}

/// Returns `true` if the policies of `host` allow a connection with `other`: from `host` if
/// `egress`, to it otherwise.
fn allows(chart: &Chart, host: &Host, other: &Host, port: u16, egress: bool) -> bool {
    let End::Pod {
        labels,
        namespace: NAMESPACE,
    } = &host.end
    else {
        return true; // no policy of ours
    };
    let (rules, peers) = if egress {
        ("egress", "to")
    } else {
        ("ingress", "from")
    };
    let selects = |it: &&Value| has(labels, &it["spec"]["podSelector"]["matchLabels"]);
    let mut policies = chart.all("NetworkPolicy").filter(selects).peekable();
    if policies.peek().is_none() {
        return true;
    }
    policies.any(|policy| {
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        items(&policy["spec"][rules]).any(|rule| {
            let is_port = items(&rule["ports"]).any(|it| it["port"] == port);
            let is_peer =
                rule[peers].is_null() || items(&rule[peers]).any(|it| means(it, &other.end));
            is_port && is_peer
        })
    })
}

/// Every connection from or to a pod of the chart that is possible, as `from → to:port`.
fn possible(chart: &Chart, others: Vec<Host>, ports: &[u16]) -> BTreeSet<String> {
    let pods = chart.pods().into_iter().map(|(name, pod)| {
        assert_eq!(component(&pod["metadata"]["labels"]), name);
        Host::pod(name, pod["metadata"]["labels"].clone(), NAMESPACE)
    });
    let hosts: Vec<Host> = pods.chain(others).collect();
    let is_ours = |host: &Host| chart.pods().contains_key(&*host.name);
    let mut found = BTreeSet::new();
    for from in &hosts {
        let others = hosts.iter().filter(|to| to.name != from.name);
        for to in others.filter(|to| is_ours(from) || is_ours(to)) {
            for port in ports {
                if allows(chart, from, to, *port, true) && allows(chart, to, from, *port, false) {
                    found.insert(format!("{} → {}:{port}", from.name, to.name));
                }
            }
        }
    }
    found
}

/// The connections of services and gateway to the servers, to DNS, between each other, and of
/// Prometheus.
fn of_services(servers: [(&str, u16); 3]) -> BTreeSet<String> {
    let mut expected = BTreeSet::new();
    let mut add = |from: &str, to: &str, port: u16| {
        expected.insert(format!("{from} → {to}:{port}"));
    };
    for name in super::kit::components() {
        for (server, port) in servers {
            add(name, server, port);
        }
        add(name, "dns", 53);
        add("prometheus", name, 9464);
        if name != shop_registry::GATEWAY {
            add(shop_registry::GATEWAY, name, 8080);
        }
    }
    add("migrate", "dns", 53);
    add("migrate", servers[1].0, servers[1].1);
    expected
}

#[test]
fn in_production_pods_reach_what_they_need_and_nothing_else() {
    let others = vec![
        Host::pod("rabbitmq", json!({"app": "rabbitmq"}), "rabbitmq"),
        Host::address("postgres", "198.51.100.3"),
        Host::address("redis", "198.51.100.17"),
        Host::address("company", "192.0.2.9"),
        Host::address("mail", "198.18.0.25"),
        Host::address("client", "203.0.113.7"),
        Host::address("node", "10.0.0.4"),
        Host::address("metadata", "169.254.169.254"),
        Host::pod("dns", json!({"k8s-app": "kube-dns"}), "kube-system"),
        Host::pod("prometheus", json!({}), "monitoring"),
        Host::pod("stranger", json!({}), "default"),
        Host::pod("neighbour", json!({"app": "another"}), NAMESPACE),
    ];
    let ports = [53, 443, 465, 5432, 5671, 5672, 6380, 8080, 9464];
    let found = possible(&Chart::of("production"), others, &ports);
    let servers = [("rabbitmq", 5671), ("postgres", 5432), ("redis", 6380)];
    let mut expected = of_services(servers);
    let further = [
        "client → gateway:8080",
        "payments → company:443",
        "gateway → company:443",
        "notifications → mail:465",
        "topology → dns:53",
        "topology → rabbitmq:5671",
        "topology → postgres:5432",
        "topology → redis:6380",
    ];
    expected.extend(further.map(str::to_owned));
    assert_eq!(found, expected);
}

#[test]
fn in_a_trial_payments_reach_the_stand_in_and_nothing_outside_the_cluster() {
    let server = |name| Host::pod(name, json!({"app": name}), NAMESPACE);
    let others = vec![
        server("rabbitmq"),
        server("postgres"),
        server("redis"),
        Host::address("company", "192.0.2.9"),
        Host::address("client", "203.0.113.7"),
        Host::pod("dns", json!({"k8s-app": "kube-dns"}), "kube-system"),
        Host::pod("prometheus", json!({}), "monitoring"),
    ];
    let ports = [53, 443, 587, 8080, 9464];
    let mut found = possible(&Chart::of("dev"), others, &ports);
    let is_server = |it: &str| {
        ["rabbitmq", "postgres", "redis"]
            .iter()
            .any(|of| it.contains(of))
    };
    found.retain(|it| !is_server(it));
    let mut expected = of_services([("rabbitmq", 0), ("postgres", 0), ("redis", 0)]);
    expected.retain(|it| !is_server(it));
    expected.insert("payments → provider:8080".to_owned());
    expected.insert("gateway → provider:8080".to_owned());
    expected.extend(
        ["client", "dns", "prometheus", "company"].map(|it| format!("{it} → gateway:8080")),
    );
    assert_eq!(found, expected);
}

#[test]
fn without_addresses_of_the_company_and_the_mail_server_they_are_public_ones() {
    let others = vec![
        Host::address("public", "192.0.2.9"),
        Host::address("node", "10.0.0.4"),
        Host::address("carrier", "100.64.0.4"),
        Host::address("metadata", "169.254.169.254"),
    ];
    let found = possible(&Chart::of("minimal"), others, &[443, 587, 9464]);
    let expected = ["payments", "gateway"].map(|it| format!("{it} → public:443"));
    let mut expected: BTreeSet<String> = expected.into();
    expected.insert("notifications → public:587".to_owned());
    assert_eq!(found, expected);
}

/// The control: without policies everything is possible.
#[test]
fn without_policies_a_stranger_reaches_every_service() {
    let chart = Chart::with("production", &["--set", "networkPolicy.enabled=false"]);
    assert_eq!(chart.all("NetworkPolicy").count(), 0);
    let stranger = Host::pod("stranger", json!({}), "default");
    let found = possible(&chart, vec![stranger], &[8080]);
    assert!(found.contains("stranger → payments:8080"));
}
