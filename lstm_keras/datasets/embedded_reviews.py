"""Short made-up film reviews in which the order of the words decides.

A small grammar with polarity writes the reviews. A template holds slots: `{adj}` asks
for an adjective with the polarity of the template itself, `{-adj}` for one with the
opposite polarity, and a slot may ask for a whole clause, which has slots of its own.
So "{critics} say that {-opinion}. They are wrong." is a positive sentence about a
negative opinion. Every template serves both labels, so that most words occur equally
often in both; what tells the labels apart is who says a thing, whether it is denied,
what was only expected, and what comes last.

The test split is held out twice. All its sentences and clauses follow templates of its
own, and its titles, names, places, characters and most people with opinions and parts
of a film are new. `SENTIMENT` and `DENIALS` serve both splits, since a model can know
a word only from training. `UNSEEN_SENTIMENT` is for the test split alone: its words
stand where a known word in the same sentence settles the label ("not only {unseen}
but also {adj}"), as the uninformative `neutral` adjectives do in training.
"""

import random
import re

import numpy as np

Grammar = dict[str, list[str] | tuple[list[str], list[str]]]

# Each kind of sentiment word: (negative, positive), so that a label is the index.
SENTIMENT = {
    "adj": (
        "awful terrible dull boring clumsy dreadful tedious lifeless horrible lame "
        "stale tiresome pointless forgettable miserable feeble shallow bland sloppy "
        "annoying".split(),
        "wonderful fantastic brilliant gripping charming superb delightful lovely "
        "excellent splendid fresh inspired beautiful memorable marvelous thrilling "
        "clever impressive elegant amazing".split(),
    ),
    "plain": ("bad poor weak".split(), "good great fine".split()),
    "superb": (
        "awful terrible dreadful horrible miserable appalling".split(),
        "fantastic wonderful superb brilliant amazing marvelous".split(),
    ),
    "noun": (
        "disaster mess failure bore disappointment flop chore nightmare".split(),
        "masterpiece delight triumph gem joy treat marvel success".split(),
    ),
    "love": (
        "hate dislike detest loathe despise".split(),
        "love enjoy adore like admire".split(),
    ),
    "loved": (
        "hated disliked detested loathed despised".split(),
        "loved enjoyed adored liked admired".split(),
    ),
    "happy": (
        "bored annoyed disappointed angry irritated frustrated".split(),
        "happy delighted thrilled cheerful enchanted satisfied".split(),
    ),
    "well": (
        "badly clumsily poorly terribly lazily horribly".split(),
        "well beautifully brilliantly wonderfully cleverly superbly".split(),
    ),
}

UNSEEN_SENTIMENT = {
    "unseen": (
        "abysmal dreary insipid atrocious plodding wretched".split(),
        "dazzling exquisite radiant sublime stunning luminous".split(),
    ),
    "unseen_noun": ("fiasco dud catastrophe".split(), "jewel knockout gift".split()),
}

DENIALS = {
    "denial": (
        "not,not,not at all,never,hardly,far from,anything but,by no means,"
        "certainly not"
    ).split(",")
}

# `opinion` is a plain judgment, `report` one that may be denied, `claim` an elaborate
# one and `verdict` a sweeping one, which would not go with "although the plot is dull";
# `aspect` judges one part of the film. A line that stands twice is twice as frequent.
TRAIN = {
    "review": [
        "{opening} {turn}",
        "{opening} {turn}",
        "{opening} {turn}",
        "{opening} {turn} {closing}",
        "{opening} {turn} {closing}",
        "{turn} {closing}",
        "{opening} {reaction} {closing}",
        "{opening} {turn} {reaction}",
    ],
    "opening": [
        "I watched {title} {when} with {one}.",
        "{title} tells the story of a {hero} who {quest}.",
        "{title}, directed by {person}, is set in {place}.",
        "{person} plays a {hero} in {title}, a {film} about a {hero} who {quest}.",
        "{one} and I rented {title} {when}.",
        "The new {film} by {person} follows a {hero} from {place} to {place}.",
        "In {title}, {person} and {person} play a {hero} and a {hero} in {place}.",
        "{title} runs for about two hours, most of them in {place}.",
        "This {film} by {person} is about a {hero} who {quest}.",
        "{person} wrote {title} after a long journey to {place}.",
        "I saw {title} {when} at a small theater in {place}.",
        "We meet a {hero}, played by {person}, who {quest}.",
        "{title} is a {film} by {person}.",
    ],
    "closing": [
        "{person} also has a small part in it.",
        "The last scene takes place in {place}.",
        "{one} saw it with me.",
        "It is the third {film} with {person}.",
        "The music is by {person}, the costumes by {person}.",
        "There were about ten people in the cinema.",
        "We were in {place} at the time.",
        "{one} wanted to see it because of {person}.",
        "In one scene you can see {person} with a {hero}.",
        "You may know {person} from other films.",
    ],
    "reaction": [
        "I {loved} {it}.",
        "I really {loved} {it}.",
        "{one} and I {loved} {it}.",
        "I did not {-love} {any}.",
        "I never {-loved} {any}.",
        "I left the cinema {happy}.",
        "I went home {happy}.",
        "I was {happy}.",
        "I was really {happy}.",
        "I was {happy} when I came out.",
        "I was {happy} when I left.",
        "I was {happy} after that.",
        "I came out {happy}.",
        "I was really {happy} when I left.",
        "I was {denial} {-happy}.",
        "I was not {-happy} when I left.",
        "I was not {-happy} at all.",
        "I was not at all {-happy} after that.",
    ],
    "it": ["it", "every {moment}", "every {moment} of it", "all of it"],
    "any": ["it", "it at all", "a single {moment}", "a single {moment} of it"],
    "turn": (
        "{plainly}|{plainly}|{plainly}|{hearsay}|{hearsay}|{surprise}|{surprise}|"
        "{concession}|{concession}|{denying}|{question}"
    ).split("|"),
    "plainly": [
        "{verdict}.",
        "{verdict}, and I {loved} {it}.",
        "{verdict}, and I did not {-love} {any}.",
        "For me {verdict}.",
        "In short, {verdict}.",
        "I can only say that {verdict}.",
        "I must say that {verdict}.",
        "I think that {verdict}.",
        "I would even say that {verdict}.",
        "I would go so far as to say that {verdict}.",
        "I would call it {simple}.",
        "{subject} is a {noun}, something truly {adj}.",
        "{subject} is not only {neutral}, it is also {adj}.",
        "{subject} is not only {adj}, it is also {adj}.",
        "{report}. I {loved} {it}.",
        "{aspect}, and {aspect}. In short, {claim}.",
        "This {film} was {simple}, and I {loved} {it}.",
        "This {film} was {denial} {-simple}.",
        "This {film} was absolutely {superb} and I {loved} {it}.",
        "This {film} was absolutely not {-adj}, and I {loved} {it}.",
        "This {film} was {denial} {-simple} and I did not {-love} {any}.",
        "I left the cinema {happy}, because {verdict}.",
        "I was {denial} {-happy}, because {verdict}.",
    ],
    "hearsay": [
        "{critics} {say} that {-opinion}{refuted}",
        "{critics} {say} that {-opinion}{refuted}",
        "{critics} {say} that {-opinion}{refuted}",
        "{critics} {say} that {opinion}{confirmed}",
        "{critics} {say} that {opinion}{confirmed}",
        "{critics} call it {-simple}{refuted}",
        "{critics} call it {simple}{confirmed}",
        "{critics} are wrong to say that {-opinion}.",
        "{critics} are right to say that {opinion}.",
        "{critics} are mistaken when they say that {-opinion}.",
        "I am with {critics} when they say that {opinion}.",
        "I am not with {critics} when they say that {-opinion}.",
        "I think {critics} are wrong to call it {-simple}.",
        "I think {critics} are right to call it {simple}.",
        "{critics} were wrong when they called it {-simple}.",
        "{critics} were right when they called it {simple}.",
        "{critics} call it {-simple}. I call it {simple}.",
        "I call it {simple}. {critics} call it {-simple}.",
        "{one} {-loved} {it}{but} I {loved} {it}.",
        "I {loved} {it}, {although} {one} {-loved} {it}.",
        "{critics} {-loved} {it}{but} I {loved} {it}.",
        "I {loved} {it}; {critics} {-loved} {it}.",
        "{one} was {-happy} after it{but} I was {happy}.",
        "I was {happy} after it, {although} {one} was {-happy}.",
        "Do not believe {critics} when they say that {-opinion}.",
        "Believe {critics} when they say that {opinion}.",
    ],
    "denying": [
        "I cannot write that {-opinion}.",
        "I cannot agree that {-opinion}.",
        "I would never say that {-opinion}.",
        "I would not say that {-opinion}.",
        "Nobody can say that {-opinion}.",
        "You cannot say that {-opinion}.",
        "It is not true that {-opinion}.",
        "It is wrong to say that {-opinion}.",
        "It would be a mistake to say that {-opinion}.",
        "It would not be right to say that {-opinion}.",
        "It is right to say that {opinion}.",
    ],
    "surprise": [
        "{expected} {-simple}{but} {report}.",
        "{expected} {-simple}{but} {report}.",
        "{expected} {-simple}{but} what I saw was {simple}.",
        "{report}, {although} {expected} {-simple}.",
        "{expected} {-simple}, and I was wrong.",
        "{expected} {-simple}. I was wrong.",
        "{expected} {simple}, and I was right.",
        "{expected} {simple}. I was right.",
        "{expected} {neutral}{but} what I saw was {simple}.",
        "{expected} {neutral}{but} {report}.",
        "The trailer looked {-adj}. The film is {adj}.",
        "The trailer looked {neutral}. The film is {adj}.",
        "If it had been {-adj}, I would have left {-happy}. I left {happy}.",
    ],
    "concession": [
        "{despite} the {-adj} {part}, {report}.",
        "{despite} the {-adj} {part} and the {neutral} {part}, {report}.",
        "{report}, {despite} the {-adj} {part}.",
        "{although} {-aspect}, {report}.",
        "{report}, {although} {-aspect}.",
        "{-aspect}{but} {report}.",
        "Yes, {-aspect}{but} {report}.",
        "{-aspect}, and {-aspect}{but} {report}.",
        "{first} {-adj}. {last} {adj}.",
        "{first} {-adj}{but} {last} {adj}.",
        "{first} {-adj}. {last} {adj}, and in the end {report}.",
        "{-aspect}, that much is true{but} {report}.",
        "I wanted to write that {-opinion}. I cannot, because {report}.",
    ],
    "question": [
        "Is it {-simple}? No. Is it {simple}? Yes.",
        "Is it {simple}? Yes. Is it {-simple}? No.",
        "Is it {-simple}? No, {report}.",
        "Is it {-simple}? Not at all. {report}.",
        "Is it {simple}? Yes, {report}.",
        "{-adj}? No, not at all.",
        "{adj}? Yes, from beginning to end.",
    ],
    "say": ["say", "think", "write", "will tell you"],
    "refuted": (
        ". They are wrong.|, but they are wrong.|. They are mistaken.|"
        ", and they are mistaken.|. I disagree.|, but I disagree.|. I do not agree.|"
        ", and I do not agree.|, but I do not agree with them.|"
        ". I know that they are wrong.|. If you ask me, they are wrong.|"
        ". I am sure they are wrong.|, but I think that is not true.|"
        ". I disagree with that.|, and I do not believe that.|. That is not true."
    ).split("|"),
    "confirmed": (
        ". They are right.|, and they are right.|. I agree.|, and I agree with them.|"
        ". I know that they are right.|. If you ask me, they are right.|"
        ". I am sure they are right.|, and I think that is true.|"
        ". I agree with that.|. That is true.|, which is true."
    ).split("|"),
    "expected": (
        "I expected it to be|I thought it would be|I was sure it would be|"
        "{one} told me it would be|the trailer made me think it would be|"
        "the poster told me it would be|after the trailer I was sure it would be|"
        "before I saw it, I thought it would be"
    ).split("|"),
    "but": (
        ", but|, and yet|. But|. Instead,|. In truth,|. Still,|. Even so,|"
        ". In the end,|. However,"
    ).split("|"),
    "although": ["although", "though", "while", "even if"],
    "despite": ["despite", "in spite of"],
    "first": (
        "the first half is|the first hour is|the beginning is|at first it is|"
        "for ten minutes it is"
    ).split("|"),
    "last": (
        "the second half is|the last hour is|the rest is|after that it is|"
        "everything after that is"
    ).split("|"),
    "verdict": [
        "{claim}",
        "{claim}",
        "{claim}",
        "there is nothing {-adj} about it",
        "it is {adj} from beginning to end",
        "there is not a single {-adj} scene in it",
        "not one scene is {-adj}",
        "not a single part of it is {-adj}",
        "not one {moment} of it is {-adj}",
        "no scene in it is {-adj}",
        "nothing about it is {-adj}",
        "every scene is {adj}",
        "it is neither {-adj} nor {-adj}",
    ],
    "opinion": [
        "{subject} is {simple}",
        "{subject} is {simple}",
        "{subject} is really {simple}",
        "{subject} is {adj} and {adj}",
        "it is a truly {adj} {film}",
        "it is a {adj} and {neutral} {film}",
        "{subject} is not only {adj} but also {adj}",
        "{subject} is not only {neutral} but also {adj}",
        "{subject} is {neutral} and {adj}",
        "{subject} is {adj} and {neutral}",
        "it is a really {adj} story",
        "{subject} is something truly {adj}",
        "every scene is {adj}",
    ],
    "report": ["{opinion}", "{opinion}", "{subject} is {denial} {-simple}"],
    "claim": [
        "{subject} is {simple}",
        "{subject} is {simple}",
        "{subject} is {simple}",
        "{subject} is {simple}",
        "{subject} is really {simple}",
        "{subject} is {adj} and {adj}",
        "{subject} is not only {adj} but also {adj}",
        "{subject} is not only {adj} but also {well} {made}",
        "{subject} is {denial} {-simple}",
        "{subject} is {denial} {-simple}",
        "{subject} is {denial} {-adj} or {-adj}",
        "{subject} is not {-adj} but {adj}",
        "{subject} is {adj} and not {-adj}",
        "{subject} is a {noun} and not a {-noun}",
        "{subject} is {adj} rather than {-adj}",
        "{subject} is {denial} {-adj} or {neutral}",
        "{subject} is not only {neutral} but also {well} {made}",
        "{subject} is not only {neutral}, it is also {adj}",
        "nobody can call {subject} {-simple}",
    ],
    "simple": (
        "{adj}|{adj}|{adj}|{plain}|{well} {made}|a {noun}|a {noun}|"
        "a {adj} piece of work"
    ).split("|"),
    "subject": (
        "it|it|it|the film|this {film}|the story|the whole thing|the result|what we see"
    ).split("|"),
    "aspect": [
        "the {part} is {adj}",
        "the {part} is really {adj}",
        "the {part} in this {film} is {adj}",
        "the {part} is {neutral} and {adj}",
        "the {part} is {adj} and so is the {part}",
        "the {part} is {adj} and {adj}",
    ],
    "neutral": "quiet colorful modern dark old-fashioned serious unusual".split(),
    "film": "film movie picture".split(),
    "moment": "moment minute scene second".split(),
    "part": (
        "acting,music,script,dialogue,camera work,editing,plot,pacing,direction,sound"
    ).split(","),
    "made": "written acted filmed directed edited made".split(),
    "critics": (
        "critics,the critics,the newspapers,my friends,my neighbors,my colleagues,"
        "most people,the people behind me"
    ).split(","),
    "one": "my brother,my sister,my wife,my boss,my neighbor,a friend".split(","),
    "when": (
        "last night,last week,on Friday,on a rainy evening,in March,yesterday,"
        "over the holidays,in the spring,on my birthday"
    ).split(","),
    "title": [
        "The {object} of {place}",
        "The {object} and the {object}",
        "A {object} for {given}",
        "{given}'s {object}",
    ],
    "object": (
        "Harbor Letter House Bridge Clock Candle Platform Road Window Ferry Orchard "
        "Map Suitcase Porter Umbrella Garden Piano Mirror Station Tower Key Boat "
        "Kitchen Violin Train Lantern Attic Coat".split()
    ),
    "person": ["{given} {family}"],
    "given": (
        "Anna Tom Maria Peter Grace Henry Julia Samuel Nina David Laura Frank Elena "
        "Oscar Ruth Victor Clara Paul Martha Simon Alice Robert Emma Louis".split()
    ),
    "family": ["{stem}{ending}"],
    "place": ["{stem}{town}", "{city}"],
    "city": "Lisbon Chicago Oslo Vienna Naples Boston Kyoto Dublin Cairo".split(),
    "stem": "Lind Berg Dal Ash Black Wood Stan Brad Hart Win Mill Ken Thorn".split(),
    "ending": "gren man strom ford well stone ley worth field quist".split(),
    "town": "ton ville bury port haven dale wick".split(),
    "hero": (
        "nurse,sailor,baker,young teacher,retired judge,piano tuner,taxi driver,"
        "night watchman,gardener,soldier,student"
    ).split(","),
    "quest": (
        "looks for a lost brother,returns to {place} after many years,finds an old map,"
        "inherits a hotel in {place},moves to {place},meets a {hero} on a train,"
        "hides a letter from a {hero},learns to play the violin"
    ).split(","),
}

TEST = {
    "review": TRAIN["review"],  # orders of sentences, without a word of their own
    "opening": [
        "{one} took me to see {title} {when}.",
        "{title} is the story of a {hero} in {place} who {quest}.",
        "{title} was directed by {person} and filmed in {place}.",
        "In this {film}, {person} plays a {hero} who {quest}.",
        "The story of {title} is set in {place}, where a {hero} meets a {hero}.",
        "{when}, I saw {title}, written by {person}.",
        "{person} is a {hero} in {title}, and {person} is a {hero} who {quest}.",
    ],
    "closing": [
        "The editing is by {person}.",
        "{person} plays a small part.",
        "{one} wanted to see it.",
        "We saw it in {place}.",
    ],
    "reaction": [
        "I {loved} every single {moment}.",
        "I did not {-love} one {moment} of it.",
        "I came home {happy}.",
        "I was really {happy} when I went home.",
        "I was not {-happy} when I came home.",
    ],
    "turn": [
        "In short, I must say that {verdict}.",
        "In the end I must say that {verdict}.",
        "{critics} are wrong when they say that {-opinion}.",
        "{critics} are right when they say that {opinion}.",
        "{critics} {say} that {-opinion}, and I disagree with them.",
        "{critics} {say} that {-opinion}. I am sure that they are wrong.",
        "{critics} {say} that {opinion}. I am sure that they are right.",
        "{critics} think it is {-simple}. I think it is {simple}.",
        "{one} called it {-simple}, but I call it {simple}.",
        "I {loved} the whole {film}, but {critics} {-loved} it.",
        "{one} left {-happy}, but I left {happy}.",
        "I had expected it to be {-simple}. In truth, however, {verdict}.",
        "{critics} told me it would be {-unseen}, and yet what I saw was {simple}.",
        "{verdict}, though I was sure that it would be {-simple}.",
        "When I saw the poster, I thought it would be {-simple}, and I was wrong.",
        "When I saw the poster, I thought it would be {simple}, and I was right.",
        "It is a {noun}, a {unseen_noun}, something really {adj}.",
        "I thought that it would be {-simple}, but I must say that {report}.",
        "The trailer is {-unseen} and {-adj}. The film is {adj}.",
        "Even with the {-adj} {part} and the {-unseen} {part}, {report}.",
        "{-aspect}, and still {report}.",
        "Of course {-aspect}, but {report}.",
        "{claim}, even though {-aspect}.",
        "For the first hour it is {-adj}. The rest of it is {adj}.",
        "At first it is {-adj} and {-unseen}, but in the end {report}.",
        "It is true that {-aspect}, but {report}.",
        "I wanted to call it {-simple}. Instead I must say that {verdict}.",
        "It is simply not true that {-opinion}.",
        "It would be wrong to say that {-opinion}.",
        "I cannot say that {-opinion}.",
        "Is it {-simple}? No, not at all. {verdict}.",
        "Is it a {-unseen_noun}? No. Is it a {noun}? Yes.",
        "It is not only {unseen}, it is also really {adj}.",
        "This {film} was {denial} {-simple}, and I was {happy} after it.",
        "I went home {happy}, because {verdict}.",
    ],
    "say": ["say", "think", "write"],
    "verdict": [
        "{claim}",
        "{claim}",
        "the whole of it is {adj}",
        "there is not one {-adj} scene in it",
        "nothing in it is {-adj} or {-adj}",
    ],
    "opinion": [
        "{subject} really is {simple}",
        "{subject} really is {simple}",
        "it is a {adj} and {adj} {film}",
        "it is a {adj} and {unseen} {film}",
    ],
    "report": ["{opinion}", "{opinion}", "{subject} is, for me, {denial} {-simple}"],
    "claim": [
        "the film itself is {adj}",
        "what we see here is a {noun}",
        "it is a really {adj} {film}",
        "{subject} is, for me, {denial} {-simple}",
        "{subject} really is {simple}",
        "it is not {-adj} at all",
        "{subject} is far from being a {-noun}",
        "{subject} is {denial} {-adj} or {-unseen}",
        "{subject} is {adj} and truly {unseen}",
        "{subject} is both {unseen} and {adj}",
        "{subject} is not only {unseen} but also {adj}",
        "{subject} is not only a {noun} but also {well} {made}",
        "{subject} is {well} {made} and {unseen}",
    ],
    "simple": ["{adj}", "a {noun}", "a {adj} piece of cinema"],
    "subject": ["it", "this film", "the story", "this {film}"],
    "aspect": ["the {part} in it is {adj}", "the {part} is {adj} and {unseen}"],
    "film": "film movie feature production".split(),
    "moment": "moment,minute,instant".split(","),
    "part": (
        "acting,script,lighting,casting,score,costume design,choreography,narration,"
        "makeup"
    ).split(","),
    "made": "written,directed,staged,paced".split(","),
    "critics": (
        "the critics,reviewers,most reviewers,my cousins,my classmates,some bloggers,"
        "the students"
    ).split(","),
    "one": "my uncle,my roommate,my grandmother,our babysitter".split(","),
    "when": "last month,on Sunday,at a festival,one summer afternoon".split(","),
    "title": [
        "{object} in {place}",
        "The {object} of {given}",
        "The {object} near the {object}",
    ],
    "object": "Lighthouse Ledger Tram Quarry Staircase Monsoon Island Bakery".split(),
    "person": ["{given} {family}"],
    "given": "Ingrid Marcus Leila Hugo Priya Walter Sofia Andre".split(),
    "family": "Falk Doyle Haddad Varga Raman Quinn Lund Baptiste".split(),
    "place": "Helsinki Denver Porto Seoul Havana Bruges".split(),
    "hero": "plumber,astronomer,florist,boxer,librarian,ferry captain".split(","),
    "quest": (
        "searches for a missing twin,opens a bakery in {place},wakes up in {place},"
        "steals a painting from a {hero}"
    ).split(","),
}

GRAMMARS = {
    "train": SENTIMENT | DENIALS | TRAIN,
    "test": SENTIMENT | UNSEEN_SENTIMENT | DENIALS | TEST,
}
SLOT = re.compile(r"\{(-?)(\w+)\}")


def generate_reviews(
    split: str, size: int, seed: int = 0
) -> tuple[list[str], np.ndarray]:
    """Writes `size` different reviews, negative and positive in turn.

    The same arguments give the same reviews everywhere, and a smaller `size` gives the
    first of them.

    Args:
        split: "train" or "test"; the two share neither templates nor reviews.
        size: How many reviews; at least 1.
        seed: Seed of the generator.

    Returns:
        The texts, and their labels: int32 `(size,)`, 0 negative and 1 positive.

    Raises:
        ValueError: If `split` is unknown or `size` is not a positive whole number.
    """
    if split not in GRAMMARS:
        raise ValueError(f"expected split 'train' or 'test'; received split={split!r}")
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"expected a size of at least 1; received size={size!r}")
    rng = random.Random(f"{split} {seed}")
    labels = np.arange(size, dtype=np.int32) % 2
    texts: dict[str, None] = {}  # a set that keeps its order
    for label in labels.tolist():
        text = _write_review(GRAMMARS[split], label, rng)
        while text in texts or not _has_usual_length(text):
            text = _write_review(GRAMMARS[split], label, rng)
        texts[text] = None
    return list(texts), labels


def _has_usual_length(text: str) -> bool:
    words, sentences = len(text.split()), len(re.findall("[.?]", text))
    return 20 <= words <= 60 and 2 <= sentences <= 5


def _write_review(grammar: Grammar, label: int, rng: random.Random) -> str:
    text = _expand("{review}", label, grammar, rng, used=set())
    text = re.sub(r"\b([Aa]) (?=[aeiouAEIOU])", r"\1n ", text)
    return re.sub(r"(?:^|(?<=[.?] ))[a-z]", lambda match: match[0].upper(), text)


def _expand(
    template: str, polarity: int, grammar: Grammar, rng: random.Random, used: set[str]
) -> str:
    """Fills the slots of `template`, with no choice made twice in a review."""

    def fill(match: re.Match) -> str:
        sign, kind = match.groups()
        slot_polarity = 1 - polarity if sign else polarity
        choices = grammar[kind]
        if isinstance(choices, tuple):
            choices = choices[slot_polarity]
        choices = [choice for choice in choices if choice not in used] or choices
        # Of random's methods, only random() promises the same numbers in every Python.
        choice = choices[int(rng.random() * len(choices))]
        used.add(choice)
        return _expand(choice, slot_polarity, grammar, rng, used)

    return SLOT.sub(fill, template)
