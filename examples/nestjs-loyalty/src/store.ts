import { Injectable, OnApplicationShutdown, OnModuleInit } from "@nestjs/common";
import { DatabaseError, Pool, PoolClient } from "pg";

/** The advisory lock of migrations (an arbitrary number): only one replica migrates at a time. */
const MIGRATION_LOCK = 7_206_451;

const SCHEMA = `
  CREATE SCHEMA IF NOT EXISTS loyalty;
  CREATE TABLE IF NOT EXISTS loyalty.inbox (
    source text NOT NULL,
    id text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, id)
  );
  CREATE TABLE IF NOT EXISTS loyalty.balance (user_id uuid PRIMARY KEY, points bigint NOT NULL);
  CREATE TABLE IF NOT EXISTS loyalty.outbox (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event jsonb NOT NULL,
    claimed_until timestamptz NOT NULL DEFAULT '-infinity'
  );
`;

/** Longer than any message can be redelivered, dead letters and other services' outboxes included. */
const FORGET = "DELETE FROM loyalty.inbox WHERE at < now() - interval '60 days'";
const HOUR_MS = 3_600_000;

/** PostgreSQL with a schema of our own. */
@Injectable()
export class Store implements OnModuleInit, OnApplicationShutdown {
  readonly pool = new Pool({
    connectionString: process.env.WINGBEAT_STORE,
    max: 8,
    connectionTimeoutMillis: 3_000,
  });

  async onModuleInit(): Promise<void> {
    this.pool.on("error", () => undefined); // The pool replaces a closed idle connection.
    await this.transaction(async (client) => {
      await client.query("SELECT pg_advisory_xact_lock($1)", [MIGRATION_LOCK]);
      await client.query(SCHEMA);
    });
    setInterval(() => void this.pool.query(FORGET).catch(() => undefined), HOUR_MS).unref();
  }

  /** Runs the work in one transaction. */
  async transaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await this.pool.connect();
    let broken: Error | undefined;
    try {
      await client.query("BEGIN");
      const result = await work(client);
      await client.query("COMMIT");
      return result;
    } catch (error) {
      await client.query("ROLLBACK").catch((why: Error) => (broken = why));
      throw error;
    } finally {
      client.release(broken);
    }
  }

  async onApplicationShutdown(): Promise<void> {
    await this.pool.end();
  }
}

/** Returns whether the store is at fault and not the message: unavailable, overloaded, ending, or a conflict. */
export function isPassing(error: unknown): boolean {
  if (error instanceof DatabaseError) return /^(08|40|53|55|57|58)/.test(error.code ?? "");
  if (error instanceof AggregateError) return true; // Every address refused the connection.
  const { syscall, message } = error as { syscall?: string; message?: string };
  return syscall !== undefined || /^Connection terminated|timeout exceeded|^Client has/.test(message ?? "");
}
