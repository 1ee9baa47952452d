//! The measured cost of an order, what is assumed of the servers, and the formulas.

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// The cost of one order of the shop, from the request until it is completed.
pub(super) struct Order {
    /// Messages that services publish.
    pub(super) published: f64,
    /// Units of work.
    pub(super) units: f64,
    /// Rows inserted, updated and deleted.
    pub(super) rows: f64,
    /// The write-ahead log of PostgreSQL, in KiB.
    pub(super) log_kib: f64,
    /// Tables with their indexes, packed, in KiB.
    pub(super) tables_kib: f64,
    /// Bytes between services and RabbitMQ, both ways, in kB.
    pub(super) broker_kb: f64,
    /// Bytes between services and PostgreSQL, both ways, in kB.
    pub(super) store_kb: f64,
    /// Requests to Redis.
    pub(super) cache_requests: f64,
    /// Messages through the queue with the most of them.
    pub(super) hottest: f64,
    /// Processor time of all services, in ms.
    pub(super) services_ms: f64,
    /// Processor time of PostgreSQL, in ms.
    pub(super) postgres_ms: f64,
    /// Processor time of RabbitMQ on one node, in ms.
    pub(super) rabbitmq_ms: f64,
    /// The part of PostgreSQL's work that the service with the most of it causes.
    pub(super) largest_share: f64,
}

/// Measured; `docs/scaling.md` says how.
pub(super) const ORDER: Order = Order {
    published: 24.0,
    units: 25.0,
    rows: 187.0,
    log_kib: 80.0,
    tables_kib: 27.0,
    broker_kb: 38.0,
    store_kb: 87.0,
    cache_requests: 16.0,
    hottest: 7.0,
    services_ms: 2.6,
    postgres_ms: 3.6,
    rabbitmq_ms: 1.1,
    largest_share: 0.56,
};

impl Order {
    /// The names of the inputs in the page.
    #[cfg(test)]
    pub(super) fn named(&self) -> [(&'static str, f64); 13] {
        [
            ("messages published", self.published),
            ("units of work", self.units),
            ("rows written", self.rows),
            ("write-ahead log, KiB", self.log_kib),
            ("tables, KiB", self.tables_kib),
            ("to and from RabbitMQ, kB", self.broker_kb),
            ("to and from PostgreSQL, kB", self.store_kb),
            ("requests to Redis", self.cache_requests),
            ("messages in the hottest queue", self.hottest),
            ("services, ms of a core", self.services_ms),
            ("PostgreSQL, ms of a core", self.postgres_ms),
            ("RabbitMQ, ms of a core", self.rabbitmq_ms),
            (
                "share of the largest service in PostgreSQL",
                self.largest_share,
            ),
        ]
    }
}

/// The assumptions about a cell: one RabbitMQ cluster, one Redis, and PostgreSQL.
#[derive(Clone, Copy)]
pub(super) struct Assumptions {
    /// The peak of a day, as a multiple of its mean.
    peak: f64,
    /// The part of a resource that may be in use at the peak.
    utilization: f64,
    /// The cores of the machine of PostgreSQL, and of each node of RabbitMQ.
    cores: f64,
    /// The log that a machine of PostgreSQL writes and sends to its standby, in MB/s.
    log: f64,
    /// Messages that one queue passes, a second.
    queue: f64,
    /// Requests that one Redis answers, a second.
    cache: f64,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            peak: 4.0,
            utilization: 0.6,
            cores: 16.0,
            log: 200.0,
            queue: 9_225.0,
            cache: 50_000.0,
        }
    }
}

impl Assumptions {
    /// The names of the assumptions in the page.
    #[cfg(test)]
    pub(super) fn named(&self) -> [(&'static str, f64); 6] {
        [
            ("peak of a day, as a multiple of its mean", self.peak),
            ("part of a resource in use at the peak", self.utilization),
            (
                "cores of PostgreSQL, and of each node of RabbitMQ",
                self.cores,
            ),
            ("log of one PostgreSQL, MB/s", self.log),
            ("messages through one queue a second", self.queue),
            ("requests to one Redis a second", self.cache),
        ]
    }

    /// The orders a second at which each part of a cell is used as far as it may be.
    ///
    /// Each of the three nodes of RabbitMQ leads a third of the queues and follows the others.
    /// Following is taken to cost as much as leading, so a node carries every message.
    pub(super) fn limits(&self) -> Limits {
        let milliseconds = self.cores * 1_000.0;
        let limit = |available: f64, cost: f64| available * self.utilization / cost;
        Limits {
            postgres: limit(milliseconds, ORDER.postgres_ms),
            log: limit(self.log * 1_000.0, ORDER.log_kib * 1.024),
            rabbitmq: limit(milliseconds, ORDER.rabbitmq_ms),
            queue: limit(self.queue, ORDER.hottest),
            cache: limit(self.cache, ORDER.cache_requests),
        }
    }
}

/// The orders a second of one cell, by the part that limits them.
pub(super) struct Limits {
    postgres: f64,
    log: f64,
    rabbitmq: f64,
    queue: f64,
    cache: f64,
}

impl Limits {
    pub(super) fn named(&self) -> [(&'static str, f64); 7] {
        let share = ORDER.largest_share;
        [
            ("the hottest queue", self.queue),
            ("Redis", self.cache),
            ("log of one PostgreSQL for all services", self.log),
            ("cores of one PostgreSQL for all services", self.postgres),
            ("log of PostgreSQL, one for each service", self.log / share),
            (
                "cores of PostgreSQL, one for each service",
                self.postgres / share,
            ),
            ("cores of RabbitMQ, three nodes", self.rabbitmq),
        ]
    }

    /// All services share one PostgreSQL.
    pub(super) fn with_one_store(&self) -> f64 {
        self.shared().min(self.postgres).min(self.log)
    }

    /// Each service has a PostgreSQL of its own.
    pub(super) fn with_stores(&self) -> f64 {
        let largest = self.postgres.min(self.log) / ORDER.largest_share;
        self.shared().min(largest)
    }

    /// The parts that all services of a cell share.
    fn shared(&self) -> f64 {
        self.rabbitmq.min(self.queue).min(self.cache)
    }
}

/// A number of orders a day.
pub(super) struct Load {
    a_day: f64,
    /// Orders a second.
    pub(super) mean: f64,
    pub(super) peak: f64,
    assumed: Assumptions,
}

impl Load {
    pub(super) fn of(a_day: f64) -> Self {
        let assumed = Assumptions::default();
        let mean = a_day / DAY;
        let peak = mean * assumed.peak;
        Self {
            a_day,
            mean,
            peak,
            assumed,
        }
    }

    /// So much of each order, a second at the peak.
    pub(super) fn of_each(&self, each: f64) -> f64 {
        self.peak * each
    }

    /// kB of each order, in MB/s at the peak.
    pub(super) fn megabytes(&self, each: f64) -> f64 {
        self.of_each(each) / 1_000.0
    }

    /// Milliseconds of each order, in cores at the peak.
    pub(super) fn cores(&self, each: f64) -> f64 {
        self.of_each(each) / 1_000.0
    }

    /// The growth of all tables in GB a day, before anything is deleted.
    pub(super) fn tables(&self) -> f64 {
        self.a_day * ORDER.tables_kib * 1_024.0 / 1e9
    }

    /// Processes of services with one core each.
    pub(super) fn processes(&self) -> f64 {
        (self.cores(ORDER.services_ms) / self.assumed.utilization).ceil()
    }

    pub(super) fn limits(&self) -> Limits {
        self.assumed.limits()
    }

    /// The cells, if one takes so many orders a second.
    pub(super) fn cells(&self, limit: f64) -> f64 {
        (self.peak / limit).ceil()
    }

    /// The cells with a PostgreSQL for each service, if a queue were faster than was measured.
    pub(super) fn with_fast_queues(&self) -> f64 {
        let assumed = Assumptions {
            queue: 20_000.0,
            ..self.assumed
        };
        self.cells(assumed.limits().with_stores())
    }

    /// Messages in the hottest queue of each cell with a PostgreSQL for each service, a second.
    pub(super) fn hottest(&self) -> f64 {
        let cells = self.cells(self.limits().with_stores());
        self.of_each(ORDER.hottest) / cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_takes_what_its_first_limit_admits() {
        let limits = Assumptions::default().limits();
        let named = limits.named().map(|(_, limit)| limit);
        let least = named.into_iter().fold(f64::INFINITY, f64::min);
        assert!((limits.with_one_store() - least).abs() < 1e-9);
        assert!(limits.with_stores() >= limits.with_one_store());
    }

    #[test]
    fn twice_the_orders_need_twice_the_work_and_never_fewer_cells() {
        for a_day in [1e6, 3e7, 1e8] {
            let (one, two) = (Load::of(a_day), Load::of(2.0 * a_day));
            let cores = |load: &Load| load.cores(ORDER.postgres_ms);
            assert!((cores(&two) - 2.0 * cores(&one)).abs() < 1e-6);
            let cells = |load: &Load| load.cells(load.limits().with_stores());
            assert!(cells(&two) >= cells(&one));
            let each = two.peak / cells(&two);
            assert!(
                each <= two.limits().with_stores(),
                "no cell is beyond its limit"
            );
        }
    }
}
