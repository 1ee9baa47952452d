// node validate.mjs SCHEMAS VERSION…: validates the objects in standard input, a JSON array, against the schemas of
// these versions of Kubernetes and against those of custom resources. Prints one line of JSON with the number of objects
// and the faults. Fields that a schema does not know are faults.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import Ajv from "ajv/dist/2020.js";

const [schemas, ...versions] = process.argv.slice(2);
const faults = [];

// The packages export classes that validate a copy of an object. Their validators are in files beside them.
const KEDA = "keda/_schemas/ComGithubKedacoreKedaV2ApisKedaV1alpha1";
const PROMETHEUS = "prometheus-operator/_schemas/ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1";
const custom = {
  "keda.sh/v1alpha1 ScaledObject": `${KEDA}ScaledObject.js`,
  "monitoring.coreos.com/v1 PrometheusRule": `${PROMETHEUS}PrometheusRule.js`,
  "monitoring.coreos.com/v1 ServiceMonitor": `${PROMETHEUS}ServiceMonitor.js`,
};
for (const [kind, file] of Object.entries(custom)) {
  custom[kind] = (await import(`./node_modules/@kubernetes-models/${file}`)).validate;
}

const read = (version, name) => JSON.parse(readFileSync(join(schemas, `v${version}-local-strict`, name), "utf8"));
const ajvs = new Map(
  versions.map((version) => {
    const ajv = new Ajv({ strict: false, allErrors: true, logger: false, validateFormats: false });
    const definitions = read(version, "_definitions.json");
    return [version, ajv.addSchema({ ...definitions, $id: "http://kubernetes/api/_definitions.json" })];
  }),
);
const validators = new Map();
const validator = (version, { apiVersion, kind }) => {
  const [group, number] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
  const name = [kind.toLowerCase(), group.split(".")[0], number].filter(Boolean).join("-");
  const key = `${version}/${name}`;
  if (!validators.has(key)) {
    const schema = { ...read(version, `${name}.json`), $id: `http://kubernetes/api/${name}.json` };
    validators.set(key, ajvs.get(version).compile(schema));
  }
  return validators.get(key);
};

// The validators of custom resources read every field that they know. So a field that they never read is unknown,
// unless they read no field of its object, which may then contain anything.
const observed = (value, path, unknown) => {
  if (value === null || typeof value !== "object") return value;
  const read = new Map();
  unknown.push(() =>
    read.size === 0 || Array.isArray(value) ? [] : Object.keys(value).filter((key) => !read.has(key)).map((key) => `${path}/${key}`),
  );
  return new Proxy(value, {
    get(target, key) {
      if (typeof key === "symbol" || !Object.hasOwn(target, key)) {
        if (typeof key === "string") read.set(key, undefined);
        return target[key];
      }
      if (!read.has(key)) read.set(key, observed(target[key], `${path}/${key}`, unknown));
      return read.get(key);
    },
  });
};
const customFaults = (validate, object) => {
  const unknown = [];
  if (!validate(observed(object, "", unknown))) {
    return validate.errors.map(({ instancePath, message, keyword }) => `${instancePath}: ${message ?? keyword}`);
  }
  return unknown.flatMap((fields) => fields()).map((path) => `${path} is unknown`);
};

const objects = JSON.parse(readFileSync(0, "utf8"));
for (const object of objects) {
  const name = `${object.kind} ${object.metadata?.name}`;
  const validateCustom = custom[`${object.apiVersion} ${object.kind}`];
  if (validateCustom) {
    faults.push(...customFaults(validateCustom, object).map((fault) => `${name}: ${fault}`));
    continue;
  }
  for (const [version, ajv] of ajvs) {
    const validate = validator(version, object);
    if (!validate(object)) faults.push(`${name} in ${version}: ${ajv.errorsText(validate.errors)}`);
  }
}
console.log(JSON.stringify({ objects: objects.length, faults }));
