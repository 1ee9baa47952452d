import { Logger } from "@nestjs/common";
import { ChannelModel, connect } from "amqplib";
import { setTimeout as pause } from "node:timers/promises";

const PAUSE_MAX_MS = 5_000;

/** A connection that reopens, without limit, when it or one of its channels is closed. */
export class Link {
  private readonly log: Logger;
  private connection?: ChannelModel;
  private closing = false;
  private running?: Promise<void>;

  /** `open` creates channels and consumers on each new connection. */
  constructor(
    private readonly name: string,
    private readonly open: (connection: ChannelModel) => Promise<void>,
  ) {
    this.log = new Logger(`link ${name}`);
  }

  start(): void {
    this.running = this.run();
  }

  private async run(): Promise<void> {
    for (let failures = 0; !this.closing; failures += 1) {
      try {
        const connection = await this.connect();
        const gone = new Promise<void>((resolve) => connection.once("close", () => resolve()));
        await this.open(connection);
        failures = 0;
        await gone;
      } catch (error) {
        this.log.warn(`${(error as Error).message}; trying again`);
        await this.drop();
      }
      const longest = Math.min(PAUSE_MAX_MS, 100 * 2 ** Math.min(failures, 10));
      if (!this.closing) await pause(Math.random() * longest);
    }
  }

  private async connect(): Promise<ChannelModel> {
    const url = new URL(process.env.WINGBEAT_BROKER ?? "amqp://guest:guest@127.0.0.1:5672");
    url.searchParams.set("heartbeat", "15");
    const connection = await connect(url.href, {
      timeout: 5_000,
      clientProperties: { connection_name: `loyalty ${this.name}` },
    });
    connection.on("error", (error) => this.log.warn(error.message)); // `close` follows.
    this.connection = connection;
    return connection;
  }

  /** Closes the connection. A new one follows, except at shutdown. */
  async drop(): Promise<void> {
    const connection = this.connection;
    this.connection = undefined;
    await connection?.close().catch(() => undefined); // Already closed.
  }

  async close(): Promise<void> {
    this.closing = true;
    await this.drop();
    await this.running;
  }
}
