// The naive inventory service: one statement, then one event.
import { NestFactory } from '@nestjs/core';
import { client, listener, pool, server } from './shared.js';
import { end, go, answer } from './talk.js';

const payments = await client('payments');
const reserve = 'UPDATE stock SET available = available - $2, reserved = reserved + $2 WHERE sku = $1 AND available >= $2';

const App = listener('order.placed', async ({ order_id, sku, quantity, amount }) => {
  const { rowCount } = await pool.query(reserve, [sku, quantity]);
  if (rowCount === 1) payments.emit('stock.reserved', { order_id, amount });
});

const app = await NestFactory.createMicroservice(App, { ...server('inventory'), logger: ['error'] });
await app.listen();
await go();
answer({ port: 0 });
await end();
