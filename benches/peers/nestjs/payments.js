// The naive payments service: one statement, then one event.
import { NestFactory } from '@nestjs/core';
import { client, listener, pool, server } from './shared.js';
import { end, go, answer } from './talk.js';

const orders = await client('orders');

const App = listener('stock.reserved', async ({ order_id, amount }) => {
  await pool.query('INSERT INTO payments(order_id, amount) VALUES ($1, $2)', [order_id, amount]);
  orders.emit('payment.captured', { order_id });
});

const app = await NestFactory.createMicroservice(App, { ...server('payments'), logger: ['error'] });
await app.listen();
await go();
answer({ port: 0 });
await end();
