// What the three services of the naive order path share: a pool, a client a queue, the wiring.
import 'reflect-metadata';
import { Controller, Logger, Module } from '@nestjs/common';
import { ClientProxyFactory, Ctx, EventPattern, Payload, Transport } from '@nestjs/microservices';
import pg from 'pg';

Logger.overrideLogger(['error']); // What is said on stdout is for whoever started us.
export const [broker, store] = process.argv.slice(2);
export const pool = new pg.Pool({ connectionString: store, max: 10 });

const queueOptions = { durable: true, arguments: { 'x-queue-type': 'quorum' } };

export function server(queue) {
  return {
    transport: Transport.RMQ,
    options: { urls: [broker], queue, queueOptions, noAck: false, prefetchCount: 256 },
  };
}

/** A client whose events go to this queue; `emit` is not awaited, as its documentation shows. */
export async function client(queue) {
  const client = ClientProxyFactory.create({
    transport: Transport.RMQ,
    options: { urls: [broker], queue, queueOptions, persistent: true, noAck: true },
  });
  await client.connect();
  return client;
}

/** A module of one controller whose method handles an event and acknowledges it. */
export function listener(pattern, handle, more = class {}) {
  class Listener extends more {
    async on(data, context) {
      await handle(data);
      context.getChannelRef().ack(context.getMessage());
    }
  }
  Payload()(Listener.prototype, 'on', 0);
  Ctx()(Listener.prototype, 'on', 1);
  EventPattern(pattern)(Listener.prototype, 'on', Object.getOwnPropertyDescriptor(Listener.prototype, 'on'));
  Controller()(Listener);
  class App {}
  Module({ controllers: [Listener] })(App);
  return App;
}
