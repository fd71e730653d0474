// @openfeature/flipt-provider: OpenFeature over Flipt's own evaluation API.
'use strict';

const { ClientTokenAuthentication } = require('@flipt-io/flipt');
const { FliptProvider } = require('@openfeature/flipt-provider');
const { OpenFeature } = require('@openfeature/server-sdk');
const { url, token, variant, fallback, boolean, unknown, tell } = require('./questions.cjs');

const contextOf = (question) => ({ targetingKey: question.entityId, ...question.context });
const detailsOf = ({ value, reason, errorCode, errorMessage }) => ({ value, reason, errorCode, errorMessage });

(async () => {
  const authenticationStrategy = token === undefined ? undefined : new ClientTokenAuthentication(token);
  await OpenFeature.setProviderAndWait(new FliptProvider('default', { url, authenticationStrategy }));
  const client = OpenFeature.getClient();
  const text = async (question) =>
    detailsOf(await client.getStringDetails(question.flagKey, 'fallback', contextOf(question)));
  tell({
    variant: await text(variant),
    default: await text(fallback),
    attachment: detailsOf(await client.getObjectDetails(variant.flagKey, {}, contextOf(variant))),
    boolean: detailsOf(await client.getBooleanDetails(boolean.flagKey, false, contextOf(boolean))),
    unknown: await text(unknown),
  });
  await OpenFeature.close();
})();
