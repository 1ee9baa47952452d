// The protocol of measured processes: see benches/distributed/src/protocol.rs.
import { createInterface } from 'node:readline';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Waits for the next command, which begins with this word, and returns its argument. */
export async function command(word) {
  const { value, done } = await lines.next();
  if (done) process.exit(0);
  if (!value.startsWith(word)) throw new Error(`${value} instead of ${word}`);
  return value.slice(word.length).trim();
}

/** Reports that the process is ready and waits for the start. */
export async function go() {
  process.stdout.write('ready\n');
  await command('go');
}

export function answer(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

/** Waits for the end of the commands and exits. */
export async function end() {
  while (!(await lines.next()).done);
  process.exit(0);
}

/** The wall clock in microseconds. */
export function micros() {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}

const WARM_UP = 0.1;

/** The figures of a consumer. */
export class Tally {
  #latencies = [];
  #first = 0;
  #last = 0;

  take(body) {
    this.#last = micros();
    this.#first ||= this.#last;
    this.#latencies.push(Math.max(0, this.#last - body.at));
  }

  /** Waits for the number of messages and for the last of them, and answers. */
  async untilDone() {
    const total = Number(await command('total'));
    while (this.#latencies.length < total) await new Promise((next) => setTimeout(next, 1));
    const counted = this.#latencies.slice(Math.floor(this.#latencies.length * WARM_UP));
    counted.sort((one, other) => one - other);
    const at = (part) => counted[Math.min(counted.length - 1, Math.floor(counted.length * part))] / 1000;
    answer({ received: total, first: this.#first, last: this.#last, p50: at(0.5), p99: at(0.99) });
    await end();
  }
}

/** The message: 500 bytes of JSON. */
export function body(number) {
  return {
    order: `order-${String(number).padStart(12, '0')}`,
    at: micros(),
    sku: `sku-${String(number % 1000).padStart(4, '0')}`,
    quantity: 1,
    note: 'x'.repeat(390),
  };
}

/** Sends for a time, at a rate per second (0: as fast as possible) with at most 256 unconfirmed messages. */
export async function produce(seconds, rate, send) {
  const start = performance.now();
  const began = micros();
  const isOver = () => performance.now() - start >= seconds * 1000;
  let sent = 0;
  if (rate > 0) {
    const open = [];
    while (!isOver()) {
      const due = Math.min(seconds * rate, ((performance.now() - start) / 1000) * rate + 1);
      while (sent + 1 <= due) open.push(send(body(++sent)));
      await new Promise((next) => setTimeout(next, 1));
    }
    await Promise.all(open);
  } else {
    const sender = async () => {
      while (!isOver()) await send(body(++sent));
    };
    await Promise.all(Array.from({ length: 256 }, sender));
  }
  answer({ sent, seconds: (performance.now() - start) / 1000, began });
  await end();
}
