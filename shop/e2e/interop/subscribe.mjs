// node subscribe.mjs QUEUE TYPE…: prints each event of these types as a line of JSON.
import { connect } from "amqplib";

const [queue, ...types] = process.argv.slice(2);
const connection = await connect(process.env.WINGBEAT_BROKER);
const channel = await connection.createChannel();
const quorum = { "x-queue-type": "quorum", "x-delivery-limit": 20 };
await channel.assertQueue(queue, { durable: true, arguments: quorum });
for (const type of types) await channel.bindQueue(queue, "wingbeat.events", type);
await channel.prefetch(64);
connection.on("close", () => process.exit(1)); // A supervisor restarts the program.
await channel.consume(queue, (message) => {
  if (message === null) process.exit(1); // The queue was deleted.
  const { messageId, contentType, deliveryMode, headers } = message.properties;
  const data = JSON.parse(message.content.toString());
  console.log(JSON.stringify({ messageId, contentType, deliveryMode, headers, data }));
  channel.ack(message); // After the work; else RabbitMQ redelivers it.
});
console.log(JSON.stringify({ subscribed: queue }));
