// node fits.mjs ASYNCAPI-URL: reads events as subscribe.* print them and validates the headers and the data of each against
// the schemas of its type.
import { createInterface } from "node:readline";
import Ajv from "ajv"; // Draft 7, which the schemas of AsyncAPI extend.
import addFormats from "ajv-formats";

const document = await (await fetch(process.argv[2])).json();
const ajv = new Ajv({ strict: false });
addFormats(ajv);
const resolve = (reference) => reference.slice(2).split("/").reduce((at, name) => at[name], document);

for await (const line of createInterface({ input: process.stdin })) {
  const { headers, contentType, data } = JSON.parse(line);
  const message = document.components.messages[headers["cloudEvents:type"]];
  const traits = message.traits.map((trait) => resolve(trait.$ref));
  const faults = [];
  // References lead into the document.
  const whole = (schema) => ({ ...schema, components: document.components });
  const check = (schema, value) => ajv.validate(whole(schema), value) || faults.push(ajv.errorsText());
  check(message.payload, data);
  traits.forEach((trait) => check(trait.headers, headers));
  if (contentType !== document.defaultContentType) faults.push(`the content type is ${contentType}`);
  console.log(JSON.stringify({ fits: faults.length === 0, faults }));
}
