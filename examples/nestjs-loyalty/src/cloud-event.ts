// CloudEvents 1.0 in AMQP's binary mode: attributes are headers, the data is the body.
import { ConsumeMessage, Options } from "amqplib";

export interface CloudEvent<T = unknown> {
  id: string;
  source: string;
  type: string;
  subject?: string;
  time: string;
  correlationid?: string;
  causationid?: string;
  traceparent?: string;
  data: T;
}

const OPTIONAL = ["subject", "correlationid", "causationid", "traceparent"] as const;

/** Throws if a required attribute is missing. */
export function decode(message: ConsumeMessage): CloudEvent {
  const headers = message.properties.headers ?? {};
  const attribute = (name: string): string | undefined => {
    const value: unknown = headers[`cloudEvents:${name}`];
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const required = (name: string): string => {
    const value = attribute(name);
    if (value === undefined) throw new Error(`cloudEvents:${name} is not set`);
    return value;
  };
  if (required("specversion") !== "1.0") throw new Error("cloudEvents:specversion is not 1.0");
  const event: CloudEvent = {
    id: required("id"),
    source: required("source"),
    type: required("type"),
    time: attribute("time") ?? new Date().toISOString(),
    data: JSON.parse(message.content.toString("utf8")),
  };
  for (const name of OPTIONAL) event[name] = attribute(name);
  return event;
}

export function encode(event: CloudEvent): [Buffer, Options.Publish] {
  const { data, ...attributes } = event;
  const headers: Record<string, string> = { "cloudEvents:specversion": "1.0" };
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) headers[`cloudEvents:${name}`] = value;
  }
  const properties = { persistent: true, contentType: "application/json", messageId: event.id, headers };
  return [Buffer.from(JSON.stringify(data)), properties];
}
