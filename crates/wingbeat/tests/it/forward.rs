//! Methods that a wrapper of a port forwards to its field `inner`.
//!
//! A test double changes few methods of a port. `forward_store!(load, scan);` in its `impl` block
//! defines the named ones.

macro_rules! forward_transport {
    (@ping) => {
        fn ping(&self) -> wingbeat::BoxFuture<'_, wingbeat::Result<()>> {
            self.inner.ping()
        }
    };
    (@declare) => {
        fn declare(
            &self,
            topology: &wingbeat::ports::Topology,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<()>> {
            self.inner.declare(topology)
        }
    };
    (@publish) => {
        fn publish(
            &self,
            messages: Vec<wingbeat::ports::Envelope>,
        ) -> wingbeat::BoxFuture<'_, Vec<Result<(), wingbeat::transport::Refused>>> {
            self.inner.publish(messages)
        }
    };
    (@consume) => {
        fn consume(
            &self,
            queue: wingbeat::Name,
            prefetch: usize,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<Box<dyn wingbeat::ports::Consumer>>> {
            self.inner.consume(queue, prefetch)
        }
    };
    (@depth) => {
        fn depth(
            &self,
            queue: wingbeat::Name,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<u64>> {
            self.inner.depth(queue)
        }
    };
    ($($method:ident),+ $(,)?) => { $( forward_transport!(@$method); )+ };
}

macro_rules! forward_store {
    (@prepare) => {
        fn prepare(
            &self,
            services: &[wingbeat::Name],
            topology: &wingbeat::ports::Topology,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<()>> {
            self.inner.prepare(services, topology)
        }
    };
    (@ping) => {
        fn ping(&self) -> wingbeat::BoxFuture<'_, wingbeat::Result<()>> {
            self.inner.ping()
        }
    };
    (@load) => {
        fn load(
            &self,
            service: wingbeat::Name,
            key: &wingbeat::ports::Key,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<Option<wingbeat::ports::Record>>> {
            self.inner.load(service, key)
        }
    };
    (@scan) => {
        fn scan(
            &self,
            service: wingbeat::Name,
            table: wingbeat::Name,
            after: Option<String>,
            limit: usize,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<Vec<(String, wingbeat::ports::Record)>>> {
            self.inner.scan(service, table, after, limit)
        }
    };
    (@history) => {
        fn history(
            &self,
            service: wingbeat::Name,
            key: &wingbeat::ports::Key,
            after: u64,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<Vec<wingbeat::store::Recorded>>> {
            self.inner.history(service, key, after)
        }
    };
    (@row) => {
        fn row(
            &self,
            service: wingbeat::Name,
            view: wingbeat::Name,
            key: &str,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<Option<wingbeat_core::unit::Row>>> {
            self.inner.row(service, view, key)
        }
    };
    (@rows) => {
        fn rows(
            &self,
            service: wingbeat::Name,
            query: wingbeat::store::Query,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<wingbeat::store::Page>> {
            self.inner.rows(service, query)
        }
    };
    (@journal) => {
        fn journal(
            &self,
            service: wingbeat::Name,
            story: wingbeat::CorrelationId,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<Vec<wingbeat::bytes::Bytes>>> {
            self.inner.journal(service, story)
        }
    };
    (@counters) => {
        fn counters(
            &self,
            service: wingbeat::Name,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<Vec<(wingbeat::Name, i64)>>> {
            self.inner.counters(service)
        }
    };
    (@settled) => {
        fn settled(
            &self,
            queue: wingbeat::Name,
            source: &str,
            message: wingbeat::ports::MessageId,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<bool>> {
            self.inner.settled(queue, source, message)
        }
    };
    (@claim_due) => {
        fn claim_due(
            &self,
            services: &[wingbeat::Name],
            now: wingbeat::Timestamp,
            lease: std::time::Duration,
            limit: usize,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<Vec<wingbeat::store::DueRecord>>> {
            self.inner.claim_due(services, now, lease, limit)
        }
    };
    (@next_due) => {
        fn next_due(
            &self,
            services: &[wingbeat::Name],
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<Option<wingbeat::Timestamp>>> {
            self.inner.next_due(services)
        }
    };
    (@backlog) => {
        fn backlog(
            &self,
            service: wingbeat::Name,
            now: wingbeat::Timestamp,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<wingbeat::store::Backlog>> {
            self.inner.backlog(service, now)
        }
    };
    (@retain) => {
        fn retain(
            &self,
            now: wingbeat::Timestamp,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<u64>> {
            self.inner.retain(now)
        }
    };
    (@outbox) => {
        fn outbox(&self) -> Option<std::sync::Arc<dyn wingbeat::ports::Outbox>> {
            self.inner.outbox()
        }
    };
    ($($method:ident),+ $(,)?) => { $( forward_store!(@$method); )+ };
}

macro_rules! forward_cache {
    (@ping) => {
        fn ping(&self) -> wingbeat::BoxFuture<'_, wingbeat::Result<()>> {
            self.inner.ping()
        }
    };
    (@get) => {
        fn get(
            &self,
            key: &str,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<Option<wingbeat::bytes::Bytes>>> {
            self.inner.get(key)
        }
    };
    (@put) => {
        fn put(
            &self,
            key: &str,
            value: wingbeat::bytes::Bytes,
            ttl: std::time::Duration,
            keep: wingbeat::cache::Durability,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<()>> {
            self.inner.put(key, value, ttl, keep)
        }
    };
    (@replace) => {
        fn replace(
            &self,
            key: &str,
            expected: Option<wingbeat::bytes::Bytes>,
            value: wingbeat::bytes::Bytes,
            ttl: std::time::Duration,
            keep: wingbeat::cache::Durability,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<bool>> {
            self.inner.replace(key, expected, value, ttl, keep)
        }
    };
    (@remove) => {
        fn remove(&self, key: &str) -> wingbeat::BoxFuture<'_, wingbeat::Result<()>> {
            self.inner.remove(key)
        }
    };
    (@remove_prefix) => {
        fn remove_prefix(&self, prefix: &str) -> wingbeat::BoxFuture<'_, wingbeat::Result<()>> {
            self.inner.remove_prefix(prefix)
        }
    };
    (@hit) => {
        fn hit(
            &self,
            key: &str,
            window: std::time::Duration,
        ) -> wingbeat::BoxFuture<'_, wingbeat::Result<u64>> {
            self.inner.hit(key, window)
        }
    };
    ($($method:ident),+ $(,)?) => { $( forward_cache!(@$method); )+ };
}
