// What every client is asked about the example document, in one place: the answers then differ only in form.
'use strict';

const nordic = { country: 'NO', plan: 'pro', days: '31' };

module.exports = {
  url: process.env.FLIPT_URL,
  token: process.env.FLIPT_TOKEN,
  // Whether flags can be read here, or only evaluated.
  lists: process.env.FLIPT_LISTS !== undefined,
  variant: { flagKey: 'button-colour', entityId: 'user-1', context: nordic },
  fallback: { flagKey: 'button-colour', entityId: 'user-1', context: {} },
  boolean: { flagKey: 'new-checkout', entityId: 'ann@example.com', context: {} },
  unknown: { flagKey: 'no-such-flag', entityId: 'user-1', context: {} },

  // What a call gives, or how it fails.
  async attempt(call) {
    try {
      return await call();
    } catch (error) {
      return { error: error.message };
    }
  },

  tell(answers) {
    process.stdout.write(`${JSON.stringify(answers)}\n`);
  },
};
