import { Injectable, Logger, OnApplicationBootstrap } from "@nestjs/common";
import { ConsumeMessage } from "amqplib";
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { Broker } from "./broker";
import { CloudEvent, decode } from "./cloud-event";
import { Relay } from "./relay";
import { isPassing, Store } from "./store";

/** The fields of orders.order_paid.v1 that we use. Other fields are ignored. */
interface OrderPaid {
  order_id: string;
  user_id: string;
  total: { amount_minor: number; currency: string };
}

/** One point for each whole euro. */
@Injectable()
export class Loyalty implements OnApplicationBootstrap {
  private readonly log = new Logger(Loyalty.name);

  constructor(
    private readonly broker: Broker,
    private readonly store: Store,
    private readonly relay: Relay,
  ) {}

  onApplicationBootstrap(): void {
    this.broker.start((message) => this.handle(message));
  }

  /** Resolves when the message is stored. While the store is unavailable it waits: RabbitMQ would redeliver a rejected
   * message at once, and each redelivery counts towards the delivery limit. */
  private async handle(message: ConsumeMessage): Promise<void> {
    for (let wait = 100; ; wait = Math.min(2 * wait, 5_000)) {
      try {
        const event = decode(message);
        await this.award(event, paid(event));
        return this.relay.wake();
      } catch (error) {
        this.log.warn(`order_paid: ${(error as Error).message}`);
        if (!isPassing(error)) throw error;
        await pause(wait * (0.5 + Math.random()));
      }
    }
  }

  /** Writes the inbox row, the balance and the outgoing event in one transaction. */
  private async award(event: CloudEvent, paid: OrderPaid): Promise<void> {
    const points = Math.floor(paid.total.amount_minor / 100);
    await this.store.transaction(async (client) => {
      const seen = await client.query(
        "INSERT INTO loyalty.inbox (source, id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        [event.source, event.id],
      );
      if (seen.rowCount === 0) return; // A duplicate.
      await client.query(
        `INSERT INTO loyalty.balance AS mine (user_id, points) VALUES ($1, $2)
         ON CONFLICT (user_id) DO UPDATE SET points = mine.points + excluded.points`,
        [paid.user_id, points],
      );
      const awarded: CloudEvent = {
        id: randomUUID(),
        source: "loyalty",
        type: "loyalty.points_awarded.v1",
        subject: paid.user_id,
        time: new Date().toISOString(),
        correlationid: event.correlationid,
        causationid: event.id,
        traceparent: event.traceparent,
        data: { user_id: paid.user_id, order_id: paid.order_id, points },
      };
      await client.query("INSERT INTO loyalty.outbox (event) VALUES ($1)", [awarded]);
    });
  }
}

/** Returns the data if it matches the contract. */
function paid(event: CloudEvent): OrderPaid {
  const data = event.data as OrderPaid;
  const fits =
    event.type === "orders.order_paid.v1" &&
    typeof data?.order_id === "string" &&
    typeof data.user_id === "string" &&
    Number.isSafeInteger(data.total?.amount_minor);
  if (!fits) throw new Error(`this is no order_paid: ${event.type}`);
  return data;
}
