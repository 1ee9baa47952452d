// node publish.mjs EXCHANGE TYPE SOURCE ID DATA
// publishes a message and exits with 0 when a queue has stored it.
import { connect } from "amqplib";

const [exchange, type, source, id, data] = process.argv.slice(2);
const connection = await connect(process.env.WINGBEAT_BROKER);
const channel = await connection.createConfirmChannel();
let returned = false;
channel.on("return", () => (returned = true)); // No queue is bound. Sent before the confirm.
const attributes = { specversion: "1.0", id, source, type, time: new Date().toISOString() };
const headers = {};
for (const name in attributes) headers[`cloudEvents:${name}`] = attributes[name];
const required = { persistent: true, mandatory: true };
const properties = { messageId: id, contentType: "application/json", headers, ...required };
channel.publish(exchange, type, Buffer.from(data), properties);
await channel.waitForConfirms();
await connection.close();
if (returned) throw new Error(`no queue is bound to ${type}`);
