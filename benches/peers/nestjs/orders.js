// The naive orders service: takes orders over HTTP and confirms them; one statement, then one event.
import { HttpCode, Body, Post, ValidationPipe } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { IsInt, IsNotEmpty, IsString, Max, Min } from 'class-validator';
import { client, listener, pool, server } from './shared.js';
import { end, go, answer } from './talk.js';

const inventory = await client('inventory');
const confirmed = await client('confirmed');

class PlaceOrder {}
for (const field of ['order_id', 'sku']) {
  IsString()(PlaceOrder.prototype, field);
  IsNotEmpty()(PlaceOrder.prototype, field);
}
for (const [field, most] of [['quantity', 100], ['amount', 1_000_000]]) {
  IsInt()(PlaceOrder.prototype, field);
  Min(1)(PlaceOrder.prototype, field);
  Max(most)(PlaceOrder.prototype, field);
}

class Placing {
  async place({ order_id, sku, quantity, amount }) {
    await pool.query(
      "INSERT INTO orders(id, sku, quantity, amount, status) VALUES ($1, $2, $3, $4, 'pending')",
      [order_id, sku, quantity, amount],
    );
    inventory.emit('order.placed', { order_id, sku, quantity, amount });
    return { order_id };
  }
}
const place = Object.getOwnPropertyDescriptor(Placing.prototype, 'place');
Body()(Placing.prototype, 'place', 0);
Reflect.defineMetadata('design:paramtypes', [PlaceOrder], Placing.prototype, 'place');
Post('/orders')(Placing.prototype, 'place', place);
HttpCode(201)(Placing.prototype, 'place', place);

const confirm = async ({ order_id }) => {
  await pool.query("UPDATE orders SET status = 'confirmed' WHERE id = $1", [order_id]);
  confirmed.emit('order.confirmed', { order_id });
};

const app = await NestFactory.create(listener('payment.captured', confirm, Placing), new FastifyAdapter(), { logger: ['error'] });
app.useGlobalPipes(new ValidationPipe({ whitelist: true }));
app.connectMicroservice(server('orders'));
await app.startAllMicroservices();
await app.listen(0, '127.0.0.1');
await go();
answer({ port: app.getHttpServer().address().port });
await end();
