// Decides for every line of standard input, and prints a line for each: with the argument `engine` by Flipt's
// engine for JavaScript on the server's snapshot, with `ofrep` by OpenFeature's OFREP provider.
//
// A line is {"namespace", "flag", "type", "entity", "context"}, with `variant` or `boolean` as the type.
'use strict';

const url = process.env.FLIPT_URL;
// Requests under way at once.
const PARALLEL = 16;

async function engine(namespace) {
  const { FliptClient } = require('@flipt-io/flipt-client-js/node');
  const client = await FliptClient.init({ url, namespace, updateInterval: 0 });
  return async ({ flag, type, entity, context }) => {
    const question = { flagKey: flag, entityId: entity, context };
    if (type === 'boolean') {
      const { enabled, reason } = client.evaluateBoolean(question);
      return { enabled, reason };
    }
    const { match, variantKey, variantAttachment, reason } = client.evaluateVariant(question);
    return { match, variant: variantKey, attachment: variantAttachment ?? '', reason };
  };
}

async function ofrep(namespace) {
  const { OFREPProvider } = require('@openfeature/ofrep-provider');
  const { OpenFeature } = require('@openfeature/server-sdk');
  const headers = [['X-Flipt-Namespace', namespace]];
  await OpenFeature.setProviderAndWait(namespace, new OFREPProvider({ baseUrl: url, headers }));
  const client = OpenFeature.getClient(namespace);
  return async ({ flag, type, entity, context }) => {
    const asked = { targetingKey: entity, ...context };
    const details =
      type === 'boolean'
        ? await client.getBooleanDetails(flag, false, asked)
        : await client.getStringDetails(flag, 'the default of the caller', asked);
    const { value, variant, reason, flagMetadata, errorCode, errorMessage } = details;
    return errorCode === undefined
      ? { value, variant, reason, metadata: flagMetadata }
      : { error: `${errorCode}: ${errorMessage}` };
  };
}

(async () => {
  const open = { engine, ofrep }[process.argv[2]];
  const text = require('node:fs').readFileSync(0, 'utf8');
  const questions = text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  const deciders = {};
  for (const { namespace } of questions) deciders[namespace] ??= await open(namespace);
  const answers = new Array(questions.length);
  let next = 0;
  const work = async () => {
    while (next < questions.length) {
      const index = next++;
      const question = questions[index];
      try {
        answers[index] = await deciders[question.namespace](question);
      } catch (error) {
        answers[index] = { error: error.message };
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  process.stdout.write(answers.map((answer) => `${JSON.stringify(answer)}\n`).join(''));
})();
