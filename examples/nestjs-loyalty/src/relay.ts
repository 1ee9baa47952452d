import { BeforeApplicationShutdown, Injectable, Logger, OnApplicationBootstrap } from "@nestjs/common";
import { once, EventEmitter } from "node:events";
import { Broker } from "./broker";
import { CloudEvent } from "./cloud-event";
import { Store } from "./store";

const BATCH = 100;
const IDLE_MS = 500;

/** Publishes the outbox, waits for the confirms and deletes the confirmed rows. After a crash in between it publishes
 * the same events again, under the same ids. */
@Injectable()
export class Relay implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly log = new Logger(Relay.name);
  private readonly bell = new EventEmitter();
  private rung = false;
  private closing = false;
  private running?: Promise<void>;

  constructor(
    private readonly store: Store,
    private readonly broker: Broker,
  ) {}

  onApplicationBootstrap(): void {
    this.running = this.run();
  }

  /** Wakes the relay after a commit. */
  wake(): void {
    this.rung = true;
    this.bell.emit("rung");
  }

  private async run(): Promise<void> {
    for (;;) {
      const last = this.closing;
      this.rung = false;
      const sent = await this.round().catch((error: Error) => {
        this.log.warn(`outbox: ${error.message}`);
        return 0;
      });
      if (last) return;
      if (sent === BATCH || this.rung) continue;
      await once(this.bell, "rung", { signal: AbortSignal.timeout(IDLE_MS) }).catch(() => undefined);
    }
  }

  /** Claims rows so that replicas do not publish the same events. No transaction is open while the broker confirms. */
  private async round(): Promise<number> {
    if (!this.broker.isReady) return 0;
    const { rows } = await this.store.pool.query<{ number: string; event: CloudEvent }>(
      `UPDATE loyalty.outbox SET claimed_until = now() + interval '5 seconds' WHERE number IN (
         SELECT number FROM loyalty.outbox WHERE claimed_until < now()
         ORDER BY number LIMIT $1 FOR UPDATE SKIP LOCKED)
       RETURNING number, event`,
      [BATCH],
    );
    if (rows.length === 0) return 0;
    rows.sort((a, b) => Number(a.number) - Number(b.number));
    await this.broker.publish(rows.map((row) => row.event));
    const sent = rows.map((row) => row.number);
    await this.store.pool.query("DELETE FROM loyalty.outbox WHERE number = ANY($1)", [sent]);
    return rows.length;
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.closing = true;
    this.wake();
    await this.running;
  }
}
