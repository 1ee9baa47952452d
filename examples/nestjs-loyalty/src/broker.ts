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

/** Handles a message durably. A message for which it throws becomes a dead letter. */
export type Handler = (message: ConsumeMessage) => Promise<void>;

/** Consumes and publishes on separate connections, so that a broker that blocks publishers still gets acknowledgements. */
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

  /** Declares our queue and our dead letters. It declares the shop's exchange as the shop does, so either may start first. */
  private async declare(channel: Channel): Promise<void> {
    await channel.assertExchange(EVENTS, "topic", { durable: true });
    await channel.assertExchange(DEAD, "fanout", { durable: true });
    await channel.assertQueue("loyalty.dead-letters", { durable: true, arguments: { "x-queue-type": "quorum" } });
    await channel.bindQueue("loyalty.dead-letters", DEAD, "");
    await channel.assertQueue(QUEUE, {
      durable: true,
      arguments: {
        "x-queue-type": "quorum",
        "x-delivery-limit": 20, // Limits the redeliveries of a message that crashes the process.
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish", // At-least-once dead-lettering requires it.
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
      if (message === null) return void this.consuming.drop(); // The queue was deleted: declare it again.
      const handling = this.settle(channel, message).finally(() => this.inFlight.delete(handling));
      this.inFlight.add(handling);
    });
    this.consumer = { channel, tag: consumerTag };
  }

  private async settle(channel: Channel, message: ConsumeMessage): Promise<void> {
    const taken = await this.handler!(message).then(() => true, () => false);
    try {
      if (taken) channel.ack(message);
      else channel.reject(message, false); // RabbitMQ dead-letters it.
    } catch {
      // The channel is closed: RabbitMQ redelivers the message, and the inbox recognizes it.
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

  /** Resolves when the broker has confirmed all of them. Not mandatory: events need no subscriber. */
  async publish(events: CloudEvent[]): Promise<void> {
    const channel = this.confirms;
    if (!channel) throw new Error("the broker is unavailable");
    try {
      await this.confirmed(channel, events);
    } catch (error) {
      void this.publishing.drop(); // Do not reuse a channel with a missing confirm.
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

  /** Step 1 of the shutdown: stops consuming and finishes current messages. RabbitMQ redelivers the others. */
  async onModuleDestroy(): Promise<void> {
    const consumer = this.consumer;
    await consumer?.channel.cancel(consumer.tag).catch(() => undefined);
    const patience = pause(FINISHED_WITHIN_MS, undefined, { ref: false });
    await Promise.race([Promise.all(this.inFlight), patience]);
    await this.consuming.close();
  }

  /** Last step of the shutdown, after the relay has finished. */
  async onApplicationShutdown(): Promise<void> {
    await this.publishing.close();
  }
}
