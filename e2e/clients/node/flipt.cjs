// @flipt-io/flipt: evaluation by the server, over HTTP.
'use strict';

const { FliptClient, ClientTokenAuthentication } = require('@flipt-io/flipt');
const { url, token, lists, variant, fallback, boolean, unknown, attempt, tell } = require('./questions.cjs');

const client = new FliptClient({
  url,
  authenticationStrategy: token === undefined ? undefined : new ClientTokenAuthentication(token),
});
const asked = (question) => ({ namespaceKey: 'default', ...question });
const variantOf = (answer) => ({
  match: answer.match,
  variant: answer.variantKey,
  attachment: answer.variantAttachment,
  segments: answer.segmentKeys,
  reason: answer.reason,
});
const booleanOf = (answer) => ({ enabled: answer.enabled, reason: answer.reason });
const entryOf = (entry) => {
  if (entry.variantResponse) return variantOf(entry.variantResponse);
  if (entry.booleanResponse) return booleanOf(entry.booleanResponse);
  return { error: `${entry.errorResponse.reason} ${entry.errorResponse.flagKey}` };
};

(async () => {
  const answers = {};
  if (lists) {
    answers.flags = await attempt(async () => {
      const list = await client.flags.listFlags('default');
      return list.flags.map((flag) => flag.key);
    });
  }
  answers.variant = await attempt(async () => variantOf(await client.evaluation.variant(asked(variant))));
  answers.default = await attempt(async () => variantOf(await client.evaluation.variant(asked(fallback))));
  answers.boolean = await attempt(async () => booleanOf(await client.evaluation.boolean(asked(boolean))));
  answers.batch = await attempt(async () => {
    const batch = await client.evaluation.batch({ requests: [boolean, variant, unknown].map(asked) });
    return batch.responses.map(entryOf);
  });
  answers.unknown = await attempt(async () => variantOf(await client.evaluation.variant(asked(unknown))));
  tell(answers);
})();
