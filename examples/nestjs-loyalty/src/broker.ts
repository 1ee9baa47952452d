import { Injectable, OnApplicationShutdown, OnModuleDestroy } from "@nestjs/common";
import { Channel, ChannelModel, ConfirmChannel, ConsumeMessage } from "amqplib";
import { setTimeout as pause } from "node:timers/promises";
import { CloudEvent, encode } from "./cloud-event";
import { Link } from "./link";

const EVENTS = "wingbeat.events";
const QUEUE = "loyalty.order_paid";
const TYPE = "orders.order_paid.v1";
const DEAD = "loyalty.dead";
const PREFETCH = 32;
const CONFIRMED_WITHIN_MS = 3_000;
const FINISHED_WITHIN_MS = 5_000;

/** Takes over a message for good. What it throws is the message's fault: it becomes a dead letter. */
export type Handler = (message: ConsumeMessage) => Promise<void>;

/** One connection to consume and one to publish: a broker that blocks publishers still gets our acknowledgements. */
@Injectable()
export class Broker implements OnModuleDestroy, OnApplicationShutdown {
  private readonly consuming = new Link("consuming", (connection) => this.consume(connection));
  private readonly publishing = new Link("publishing", (connection) => this.confirm(connection));
  private handler?: Handler;
  private consumer?: { channel: Channel; tag: string };
  private confirms?: ConfirmChannel;
  private readonly inFlight = new Set<Promise<void>>();

  start(handler: Handler): void {
    this.handler = handler;
    this.consuming.start();
    this.publishing.start();
  }

  get isReady(): boolean {
    return this.consumer !== undefined && this.confirms !== undefined;
  }

  /** Our queue and our dead letters. The exchange is the shop's: declared as it does, so that either may come first. */
  private async declare(channel: Channel): Promise<void> {
    await channel.assertExchange(EVENTS, "topic", { durable: true });
    await channel.assertExchange(DEAD, "fanout", { durable: true });
    await channel.assertQueue("loyalty.dead-letters", { durable: true, arguments: { "x-queue-type": "quorum" } });
    await channel.bindQueue("loyalty.dead-letters", DEAD, "");
    await channel.assertQueue(QUEUE, {
      durable: true,
      arguments: {
        "x-queue-type": "quorum",
        "x-delivery-limit": 20, // A message that kills us comes back so often, and no more.
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish", // Without it, dead letters may be lost.
      },
    });
    await channel.bindQueue(QUEUE, EVENTS, TYPE);
  }

  private async consume(connection: ChannelModel): Promise<void> {
    const channel = await connection.createChannel();
    channel.on("error", () => undefined); // `close` follows.
    channel.once("close", () => {
      this.consumer = undefined;
      void this.consuming.drop();
    });
    await this.declare(channel);
    await channel.prefetch(PREFETCH);
    const { consumerTag } = await channel.consume(QUEUE, (message) => {
      if (message === null) return void this.consuming.drop(); // The queue is gone: declare it again.
      const handling = this.settle(channel, message).finally(() => this.inFlight.delete(handling));
      this.inFlight.add(handling);
    });
    this.consumer = { channel, tag: consumerTag };
  }

  private async settle(channel: Channel, message: ConsumeMessage): Promise<void> {
    const taken = await this.handler!(message).then(() => true, () => false);
    try {
      if (taken) channel.ack(message);
      else channel.reject(message, false); // To the dead letters.
    } catch {
      // The channel is gone: the message comes again, and is known.
    }
  }

  private async confirm(connection: ChannelModel): Promise<void> {
    const channel = await connection.createConfirmChannel();
    channel.on("error", () => undefined);
    channel.once("close", () => {
      this.confirms = undefined;
      void this.publishing.drop();
    });
    await channel.assertExchange(EVENTS, "topic", { durable: true });
    this.confirms = channel;
  }

  /** Resolves when the broker has all of them for good. Not mandatory: nobody has to want our events. */
  async publish(events: CloudEvent[]): Promise<void> {
    const channel = this.confirms;
    if (!channel) throw new Error("the broker is away");
    try {
      await this.confirmed(channel, events);
    } catch (error) {
      void this.publishing.drop(); // A channel on which a confirm is missing is not used again.
      throw error;
    }
  }

  private async confirmed(channel: ConfirmChannel, events: CloudEvent[]): Promise<void> {
    for (const event of events) {
      const [body, properties] = encode(event);
      channel.publish(EVENTS, event.type, body, properties);
    }
    const late = async () => {
      await pause(CONFIRMED_WITHIN_MS, undefined, { ref: false });
      throw new Error("not confirmed in time");
    };
    await Promise.race([channel.waitForConfirms(), late()]);
  }

  /** First: takes nothing more, and finishes what it has. What it cannot finish comes again. */
  async onModuleDestroy(): Promise<void> {
    const consumer = this.consumer;
    await consumer?.channel.cancel(consumer.tag).catch(() => undefined);
    const patience = pause(FINISHED_WITHIN_MS, undefined, { ref: false });
    await Promise.race([Promise.all(this.inFlight), patience]);
    await this.consuming.close();
  }

  /** Last: the relay is done. */
  async onApplicationShutdown(): Promise<void> {
    await this.publishing.close();
  }
}
