// NestJS microservices over RabbitMQ: publishes with confirms, consumes with acknowledgements.
//
// node messages.js produce|consume <amqp url> <queue> [seconds rate]
import 'reflect-metadata';
import { Controller, Logger, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ClientProxyFactory, Ctx, EventPattern, Payload, Transport } from '@nestjs/microservices';
import { lastValueFrom } from 'rxjs';
import { go, produce, Tally } from './talk.js';

Logger.overrideLogger(['error']); // stdout belongs to the protocol of talk.js.
const [what, url, queue, seconds, rate] = process.argv.slice(2);
const options = {
  urls: [url],
  queue,
  queueOptions: { durable: true, arguments: { 'x-queue-type': 'quorum' } },
  persistent: true,
  noAck: false,
  prefetchCount: 256,
};
const rmq = { transport: Transport.RMQ, options };

if (what === 'produce') {
  // A client that only sends has nothing to acknowledge.
  const client = ClientProxyFactory.create({ ...rmq, options: { ...options, noAck: true } });
  await client.connect();
  await go();
  await produce(Number(seconds), Number(rate), (body) => lastValueFrom(client.emit('noted', body), { defaultValue: null }));
} else {
  const tally = new Tally();
  class Notes {
    noted(body, context) {
      tally.take(body);
      context.getChannelRef().ack(context.getMessage());
    }
  }
  decorate(Notes, 'noted', EventPattern('noted'), [Payload(), Ctx()]);
  Controller()(Notes);
  class App {}
  Module({ controllers: [Notes] })(App);
  await go();
  const app = await NestFactory.createMicroservice(App, { ...rmq, logger: ['error'] });
  await app.listen();
  await tally.untilDone();
}

/** The JavaScript of `@EventPattern('noted') noted(@Payload() body, @Ctx() context)`. */
function decorate(type, method, decorator, parameters) {
  parameters.forEach((parameter, place) => parameter(type.prototype, method, place));
  decorator(type.prototype, method, Object.getOwnPropertyDescriptor(type.prototype, method));
}
