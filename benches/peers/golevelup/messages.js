// @golevelup/nestjs-rabbitmq: publishes with confirms, consumes with acknowledgements.
//
// node messages.js produce|consume <amqp url> <queue> [seconds rate]
import 'reflect-metadata';
import { AmqpConnection, RabbitMQModule, RabbitSubscribe } from '@golevelup/nestjs-rabbitmq';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { go, produce, Tally } from '../nestjs/talk.js';

const [what, url, queue, seconds, rate] = process.argv.slice(2);
const rabbit = {
  uri: url,
  prefetchCount: 256,
  defaultPublishOptions: { persistent: true },
  connectionInitOptions: { wait: true },
};

if (what === 'produce') {
  const app = await open([]);
  const amqp = app.get(AmqpConnection);
  await go();
  await produce(Number(seconds), Number(rate), (body) => amqp.publish('', queue, body));
} else {
  const tally = new Tally();
  class Notes {
    async noted(body) {
      tally.take(body); // The library acknowledges when this promise resolves.
    }
  }
  const descriptor = Object.getOwnPropertyDescriptor(Notes.prototype, 'noted');
  const durable = { durable: true, arguments: { 'x-queue-type': 'quorum' } };
  RabbitSubscribe({ queue, queueOptions: durable })(Notes.prototype, 'noted', descriptor);
  Injectable()(Notes);
  await go();
  await open([Notes]);
  await tally.untilDone();
}

async function open(providers) {
  class App {}
  Module({ imports: [RabbitMQModule.forRoot(rabbit)], providers, exports: [RabbitMQModule] })(App);
  return NestFactory.createApplicationContext(App, { logger: ['error'] });
}
