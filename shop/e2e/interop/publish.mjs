// node publish.mjs EXCHANGE TYPE SOURCE ID DATA: sends a message, and ends with 0 when a queue has it for good.
import { connect } from "amqplib";

const [exchange, type, source, id, data] = process.argv.slice(2);
const connection = await connect(process.env.WINGBEAT_BROKER);
const channel = await connection.createConfirmChannel();
let returned = false;
channel.on("return", () => (returned = true)); // It comes before the confirm: no queue is bound.
const attributes = { specversion: "1.0", id, source, type, time: new Date().toISOString() };
const headers = {};
for (const name in attributes) headers[`cloudEvents:${name}`] = attributes[name];
const properties = { messageId: id, contentType: "application/json", headers };
channel.publish(exchange, type, Buffer.from(data), { persistent: true, mandatory: true, ...properties });
await channel.waitForConfirms();
await connection.close();
if (returned) throw new Error(`nobody takes ${type}`);
