// Shared by the three services of the naive order path: a pool, one client per queue, the wiring.
import 'reflect-metadata';
import { Controller, Logger, Module } from '@nestjs/common';
import { ClientProxyFactory, Ctx, EventPattern, Payload, Transport } from '@nestjs/microservices';
import pg from 'pg';

Logger.overrideLogger(['error']); // stdout belongs to the protocol of talk.js.
export const [broker, store] = process.argv.slice(2);
export const pool = new pg.Pool({ connectionString: store, max: 10 });

const queueOptions = { durable: true, arguments: { 'x-queue-type': 'quorum' } };

export function server(queue) {
  return {
    transport: Transport.RMQ,
    options: { urls: [broker], queue, queueOptions, noAck: false, prefetchCount: 256 },
  };
}

/** A client that publishes to this queue. As in its documentation, `emit` is not awaited. */
export async function client(queue) {
  const client = ClientProxyFactory.create({
    transport: Transport.RMQ,
    options: { urls: [broker], queue, queueOptions, persistent: true, noAck: true },
  });
  await client.connect();
  return client;
}

/** A module with one controller, whose method handles an event and acknowledges it. */
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
